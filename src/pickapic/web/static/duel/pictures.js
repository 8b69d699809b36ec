// Pictures are shown only when decoded, so that a round appears whole and at once.

const KEPT = 12;
const loading = new Map();

/** The decoded picture at `url`; the same promise for the same address. Rejects after a second failure. */
export function load(url) {
  const known = loading.get(url);
  if (known) return known;
  const picture = decoded(url).catch(() => decoded(url));
  picture.catch(() => loading.delete(url));
  loading.set(url, picture);
  if (loading.size > KEPT) loading.delete(loading.keys().next().value);
  return picture;
}

async function decoded(url) {
  const image = new Image();
  image.decoding = "async";
  image.draggable = false;
  image.src = url;
  await image.decode();
  return image;
}
