// Prompts for the dice: things that any model can try, and that leave room to disagree.

const STARTERS = [
  "a red fox on the beach, watercolor",
  "three penguins in the snow at night",
  "a purple octopus under water",
  "an astronaut and a yellow duck in space",
  "a tiny robot next to a giant strawberry",
  "a black cat at sunset, oil painting",
  "two giraffes in the city, poster",
  "a blue whale above a forest",
  "a knight with a green dragon, pixel art",
  "a panda in a meadow, pencil sketch",
  "a ghost and a pumpkin at night, neon",
  "four butterflies in a garden, watercolor",
  "a pink flamingo in the desert",
  "an owl on top of a house in the snow",
  "a shark and a banana, poster",
  "a white rabbit in a forest, oil painting",
  "a brown bear next to a red car",
  "two orange tigers at sunset, pixel art",
  "a unicorn in space, neon",
  "a turtle on the beach, black and white",
  "a big pineapple and a small crab on the beach",
  "a skull in the desert, pencil sketch",
  "a green frog in the city at night",
  "an alien in a meadow, oil painting",
  "three red apples, watercolor",
  "a parrot in a jungle, poster",
  "a lion at sunset, black and white",
  "a dolphin under a rocket, pixel art",
  "a wizard in the snow with a blue owl",
  "a goldfish in space",
  "a sheriff cat in the desert, oil painting",
  "a blue elephant in a garden, watercolor",
  "two robots on the beach at sunset",
  "a velociraptor in the city, neon",
  "a snail next to a castle",
  "a queen bee in a meadow, poster",
  "a yellow bus under water",
  "a monkey with a guitar, pencil sketch",
  "a crab and a lemon on the beach, pixel art",
  "a samurai in a forest at dawn, watercolor",
  "a small mouse on top of a big watermelon",
  "an eagle above the mountains, black and white",
  "a pirate and a parrot on an island",
  "a pink pig in the city, neon",
  "a polar bear in the snow, oil painting [blurry]",
  "a dog in a park, watercolor [people]",
  "a phoenix over the desert at sunset",
  "a cup of coffee in the city, poster",
];

let last = -1;

/** A starter prompt, never the same twice in a row. */
export function roll() {
  const step = 1 + Math.floor(Math.random() * (STARTERS.length - 1));
  last = last < 0 ? Math.floor(Math.random() * STARTERS.length) : (last + step) % STARTERS.length;
  return STARTERS[last];
}
