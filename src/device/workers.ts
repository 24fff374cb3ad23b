import { existsSync } from 'node:fs'
import { type Transferable, Worker } from 'node:worker_threads'

/**
 * Start a worker, given its script's path below src/. It does not keep the process alive. The
 * bundled program uses the worker scripts of the library next to it. Returns undefined if they are
 * missing.
 */
export function startWorker(path: string, workerData: unknown, transferList: Transferable[] = []): Worker | undefined {
  const here = import.meta.url
  const script = new URL(here.endsWith('.cjs') ? `./src/${path}` : `../${path}`, here)
  if (!existsSync(script)) return undefined
  // Options of the process (`--input-type`) do not apply to it.
  const worker = new Worker(script, { workerData, transferList, execArgv: [] })
  worker.unref()
  return worker
}
