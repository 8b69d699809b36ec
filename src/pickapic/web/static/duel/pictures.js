// Pictures are shown only when decoded, so that a round appears whole and at once.

const KEPT = 16;
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

/** Have the pictures that may come next here before they are asked for; false if there is none yet. */
export function fetchAhead({ prefetch = [] }) {
  for (const url of prefetch) load(url).catch(() => {});
  return prefetch.length > 0;
}

/** Ask the server for the files again: it has not seen that they were shown. */
export async function fetchAgain(urls) {
  await Promise.all(urls.map((url) => fetch(url, { cache: "reload" }).then((response) => response.blob())));
}

async function decoded(url) {
  const image = new Image();
  image.decoding = "async";
  image.draggable = false;
  image.src = url;
  await image.decode();
  return image;
}
