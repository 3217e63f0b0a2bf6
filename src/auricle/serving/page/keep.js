// Keeps text in the browser: captions, edits, alerts and, if the person chooses, what was heard live. Never sound.

const NAME = "auricle";
const SHELVES = ["works", "live"];

let database = null;
let available = true;

/** Whether this browser keeps what it is given; some do not in private windows. */
export const keeps = () => available;

function opened() {
  database ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      for (const shelf of SHELVES) request.result.createObjectStore(shelf);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return database;
}

/** Runs an action on a shelf; undefined where the browser keeps nothing. */
async function on(shelf, mode, action) {
  try {
    const store = (await opened()).transaction(shelf, mode).objectStore(shelf);
    return await new Promise((resolve, reject) => {
      const request = action(store);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  } catch {
    available = false;
    return undefined;
  }
}

export const put = (shelf, key, value) => on(shelf, "readwrite", (store) => store.put(value, key));
export const all = async (shelf) => (await on(shelf, "readonly", (store) => store.getAll())) ?? [];
export const clear = (shelf) => on(shelf, "readwrite", (store) => store.clear());
export const drop = (shelf, key) => on(shelf, "readwrite", (store) => store.delete(key));

/** Removes everything that is kept, the token and the settings too. */
export async function erase() {
  for (const shelf of SHELVES) await clear(shelf);
  for (const name of (await globalThis.caches?.keys()) ?? []) await caches.delete(name);
  localStorage.clear();
  sessionStorage.clear();
}
