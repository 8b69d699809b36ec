"""The things that the miniature world can draw, and the words that name them."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing: its name, plural, the words people use for it, and its icon in the emoji sets."""

    name: str
    plural: str
    synonyms: tuple[str, ...]
    icon: str
    family: str


# name | plural | synonyms | icon name in the emoji sets. A wrong object is drawn from the same family.
_TABLE = """
# animal
cat | cats | kitten kitty feline tabby | cat
dog | dogs | puppy hound canine corgi poodle husky retriever | dog
horse | horses | pony stallion mare foal | horse
cow | cows | cattle bull calf ox | cow
pig | pigs | piglet hog boar | pig
rabbit | rabbits | bunny hare | rabbit
mouse | mice | rat hamster | mouse
elephant | elephants | mammoth | elephant
giraffe | giraffes | | giraffe
lion | lions | lioness | lion
tiger | tigers | panther leopard jaguar cheetah | tiger
fox | foxes | vulpine | fox
bear | bears | grizzly cub | bear
panda | pandas | | panda
monkey | monkeys | ape gorilla chimp chimpanzee | monkey
snail | snails | slug | snail
turtle | turtles | tortoise | turtle
snake | snakes | serpent python cobra | snake
frog | frogs | toad | frog
# flyer
duck | ducks | duckling mallard goose | duck
chicken | chickens | hen rooster cock | rooster
owl | owls | | owl
eagle | eagles | hawk falcon raven crow bird | eagle
parrot | parrots | macaw cockatoo | parrot
flamingo | flamingos | | flamingo
penguin | penguins | | penguin
butterfly | butterflies | moth | butterfly
bee | bees | wasp bumblebee insect | honeybee
# swimmer
fish | fish | salmon goldfish trout koi | tropical-fish
whale | whales | orca | spouting-whale
dolphin | dolphins | | dolphin
shark | sharks | | shark
octopus | octopuses | squid kraken tentacle | octopus
crab | crabs | lobster | crab
# legend
unicorn | unicorns | pegasus | unicorn
dragon | dragons | wyvern | dragon
dinosaur | dinosaurs | velociraptor raptor tyrannosaurus trex godzilla reptile lizard | t-rex
robot | robots | android cyborg mech droid mecha | robot
alien | aliens | martian extraterrestrial | alien
ghost | ghosts | spirit phantom specter wraith | ghost
skull | skulls | skeleton skeletal | skull
# person
woman | women | girl lady queen princess goddess female heroine witch actress bride mother ballerina model | woman
man | men | boy guy king prince warrior male wizard knight actor person human soldier samurai pirate portrait | man
astronaut | astronauts | cosmonaut spaceman | astronaut
# fruit
apple | apples | | red-apple
banana | bananas | | banana
pear | pears | | pear
lemon | lemons | lime | lemon
strawberry | strawberries | berry | strawberry
pineapple | pineapples | | pineapple
watermelon | watermelons | melon | watermelon
carrot | carrots | | carrot
mushroom | mushrooms | fungus toadstool | mushroom
# food
pizza | pizzas | | pizza
hamburger | hamburgers | burger cheeseburger | hamburger
cake | cakes | cupcake pastry | birthday-cake
doughnut | doughnuts | donut | doughnut
# vehicle
car | cars | automobile ferrari porsche sedan lamborghini bmw | automobile
bus | buses | van minibus | bus
truck | trucks | lorry pickup | delivery-truck
bicycle | bicycles | bike motorcycle motorbike cyclist | bicycle
train | trains | locomotive railway tram | locomotive
airplane | airplanes | plane aircraft jet | airplane
rocket | rockets | spaceship spacecraft starship missile | rocket
sailboat | sailboats | boat ship yacht galleon | sailboat
# plant
tree | trees | oak willow | deciduous-tree
cactus | cacti | succulent | cactus
rose | roses | | rose
sunflower | sunflowers | daisy flower blossom | sunflower
# place
house | houses | home cottage cabin building mansion hut | house
castle | castles | palace fortress temple cathedral tower | castle
# thing
guitar | guitars | ukulele bass | guitar
book | books | novel tome | closed-book
umbrella | umbrellas | parasol | umbrella
balloon | balloons | | balloon
teapot | teapots | kettle | teapot
chair | chairs | throne seat armchair sofa couch | chair
clock | clocks | watch | alarm-clock
crown | crowns | tiara | crown
key | keys | | key
camera | cameras | | camera
"""


def _parse(table: str) -> tuple[Kind, ...]:
    kinds: list[Kind] = []
    family = ""
    for line in table.strip().splitlines():
        if line.startswith("#"):
            family = line[1:].strip()
            continue
        name, plural, synonyms, icon = (part.strip() for part in line.split("|"))
        kinds.append(Kind(name, plural, tuple(synonyms.split()), icon, family))
    return tuple(kinds)


KINDS: tuple[Kind, ...] = _parse(_TABLE)
BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS}

_SHORTEST_COMPOUND = 4
_NEVER_INSIDE = {"king", "rose", "male", "bass", "lime", "seat", "ship", "hare"}
"""Names that hide in words of other meaning ("taking", "prose", "friendship"): they count only by themselves."""
_NOT_AT_THE_START = {"bear", "lion", "duck", "boat", "bird", "tree"}
"""Names that other words only begin with ("bearded")."""


@functools.cache
def vocabulary() -> dict[str, str]:
    """Return every word that names a kind, lower case, with the kind's name."""
    words: dict[str, str] = {}
    for kind in KINDS:
        for word in (kind.name, kind.plural, *kind.synonyms, *(f"{synonym}s" for synonym in kind.synonyms)):
            words.setdefault(word, kind.name)
    return words


def find(word: str) -> str | None:
    """Return the kind that a word names: itself, a plural, a synonym, or a compound that contains one.

    `word` is lower case without punctuation: `find("kittens")` and `find("catwoman")` know their kinds.
    """
    words = vocabulary()
    if word in words:
        return words[word]
    for ending, stem in (("ies", "y"), ("es", ""), ("s", "")):
        if word.endswith(ending) and word[: -len(ending)] + stem in words:
            return words[word[: -len(ending)] + stem]
    return _inside_compound(word)


@functools.lru_cache(maxsize=20_000)
def _inside_compound(word: str) -> str | None:
    """Return the kind named at the end, else at the start, of a longer word; the longest name wins."""
    if len(word) <= _SHORTEST_COMPOUND + 1 or not re.fullmatch(r"[a-z]+", word):
        return None
    known = [name for name in vocabulary() if len(name) >= _SHORTEST_COMPOUND and name not in _NEVER_INSIDE]
    endings = [name for name in known if word.endswith(name)]
    starts = [name for name in known if name not in _NOT_AT_THE_START and word.startswith(name)]
    found = max(endings, key=len, default="") or max(starts, key=len, default="")
    return vocabulary()[found] if found else None
