/** The script of a worker, by its path below src/. The program is one file; its workers are those of the library, beside it. */
export const workerScript = (path: string): URL =>
  new URL(import.meta.url.endsWith('.cjs') ? `./src/${path}` : `../${path}`, import.meta.url)
