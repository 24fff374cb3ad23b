import { closeSync, fdatasync, openSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { MessageChannel, type MessagePort, receiveMessageOnPort, type Worker } from 'node:worker_threads'
import { startWorker } from './workers.ts'

/**
 * Writes to a file by a worker, while the caller continues:
 *
 *   write ─▶ list ─▶ message ─▶ worker: write, write, …; at times fdatasync
 *   settle   waits until all writes are done, or throws the first error
 *
 * The bytes must be in shared memory and must not change until `settle`.
 */
interface QueuedWrite {
  readonly bytes: Uint8Array
  readonly position: number
}

export interface WriterData {
  readonly fd: number
  readonly port: MessagePort
  readonly control: Int32Array
}

/** Words of the control block: messages sent and done so far, and the first error. */
const SENT = 0
const DONE = 1
const ERROR = 2
/** Bytes of writes sent to the worker in one list. */
const LIST = 2 ** 20
/** After this many bytes the worker flushes, so that the final flush is short. */
const SYNC = 2 ** 26

export class WriteBehind {
  readonly #control: Int32Array
  readonly #port: MessagePort
  readonly #worker: Worker
  #list: QueuedWrite[] = []
  #bytes = 0

  constructor(worker: Worker, port: MessagePort, control: Int32Array) {
    this.#worker = worker
    this.#port = port
    this.#control = control
  }

  write(bytes: Uint8Array, position: number): void {
    this.#list.push({ bytes, position })
    this.#bytes += bytes.length
    if (this.#bytes >= LIST) this.#send()
  }

  #send(): void {
    if (this.#list.length === 0) return
    this.#port.postMessage(this.#list)
    this.#list = []
    this.#bytes = 0
    Atomics.add(this.#control, SENT, 1)
    Atomics.notify(this.#control, SENT)
  }

  /** Wait until everything is written; it is not durable yet. @throws the first error, as Node's */
  settle(): void {
    this.#send()
    const sent = this.#control[SENT] as number
    for (let done = Atomics.load(this.#control, DONE); done !== sent; done = Atomics.load(this.#control, DONE))
      Atomics.wait(this.#control, DONE, done)
    const errno = Atomics.exchange(this.#control, ERROR, 0)
    if (errno === 0) return
    const code = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? 'EIO'
    throw Object.assign(new Error(`${code}: write`), { code, syscall: 'write' })
  }

  close(): void {
    this.#port.close()
    void this.#worker.terminate()
  }
}

/** Undefined if workers are not available. */
export function writeBehind(fd: number): WriteBehind | undefined {
  const { port1, port2 } = new MessageChannel()
  const control = new Int32Array(new SharedArrayBuffer(12))
  const data: WriterData = { fd, port: port2, control }
  const worker = startWorker('device/writer.js', data, [port2])
  port1.unref()
  if (worker) return new WriteBehind(worker, port1, control)
  port1.close()
  return undefined
}

/** The main function of the worker. */
export function serveWrites({ fd, port, control }: WriterData): void {
  const disk = ownDescriptor(fd)
  let unsynced = 0
  for (let done = 0; ; ) {
    Atomics.wait(control, SENT, done)
    for (let list = receiveMessageOnPort(port); list; list = receiveMessageOnPort(port)) {
      for (const { bytes, position } of list.message as readonly QueuedWrite[]) {
        try {
          for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, position + at)
        } catch (error) {
          Atomics.compareExchange(control, ERROR, 0, Math.abs((error as NodeJS.ErrnoException).errno ?? 0) || 5)
        }
        unsynced += bytes.length
      }
      Atomics.store(control, DONE, ++done)
      Atomics.notify(control, DONE)
    }
    if (disk === undefined || unsynced < SYNC) continue
    unsynced = 0
    // The result is not needed: the caller's flush reports errors too, through its own descriptor.
    fdatasync(disk, () => {})
  }
}

/** The same file by another descriptor: the kernel reports a disk error once per descriptor. */
function ownDescriptor(fd: number): number | undefined {
  try {
    const disk = openSync(`/proc/self/fd/${fd}`, 'r')
    process.on('exit', () => closeSync(disk))
    return disk
  } catch {
    return undefined
  }
}
