import { fileURLToPath } from 'node:url'
import type { Worker } from 'node:worker_threads'
import { XfsError } from '../errors.ts'
import { optionsOf as checked } from '../xfsimage/arguments.ts'
import { receiveError } from './errors.ts'
import type { Abort, Answer, Call, Descriptor, Event } from './protocol.ts'

/** The connection of a program to the worker of its image. */

export const BADF = { code: 'EBADF', errno: -9 }

interface Pending {
  resolve(value: unknown): void
  reject(error: Error): void
  readonly listeners: Readonly<Record<string, (...values: unknown[]) => void>>
}

/** The connection to a worker: calls by name. */
export class Connection {
  readonly #worker: Worker
  readonly #pending = new Map<number, Pending>()
  #last = 0
  #ended: Error | undefined

  constructor(worker: Worker) {
    this.#worker = worker
    worker.on('message', (message: Answer | Event) => this.#receive(message))
    worker.on('error', (error) => this.#end(error as Error))
    worker.on('messageerror', (error) => this.#end(error))
    worker.on('exit', (code) => this.#end(new XfsError('IO', `the worker of the image ended with status ${code}`)))
  }

  /** The answer to the start of the worker. */
  started(): Promise<unknown> {
    return this.#wait(0, {})
  }

  async call(method: string, args: readonly unknown[]): Promise<unknown> {
    if (this.#ended) throw this.#ended
    const { sent, signal, listeners } = sendable(args)
    signal?.throwIfAborted()
    const id = ++this.#last
    const call: Call = { id, method, args: sent, listens: [...Object.keys(listeners), ...(signal ? ['signal'] : [])] }
    try {
      this.#worker.postMessage(call)
    } catch (error) {
      throw new XfsError('INVAL', `an argument cannot be sent to the worker: ${(error as Error).message}`)
    }
    const abort = (): void => this.#worker.postMessage({ abort: id } satisfies Abort)
    signal?.addEventListener('abort', abort)
    try {
      return await this.#wait(id, listeners)
    } catch (error) {
      throw signal?.aborted ? signal.reason : error
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  /** No calls are taken any more. */
  end(): void {
    this.#ended ??= Object.assign(new Error('EBADF: the image is closed'), BADF)
  }

  #wait(id: number, listeners: Pending['listeners']): Promise<unknown> {
    // A program ends although an image is open, but not while it waits for an answer.
    this.#worker.ref()
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject, listeners }))
  }

  #receive(message: Answer | Event): void {
    const pending = this.#pending.get(message.id)
    if (!pending) return
    if ('event' in message) {
      pending.listeners[message.event]?.(...message.values)
      return
    }
    this.#pending.delete(message.id)
    if (this.#pending.size === 0) this.#worker.unref()
    if ('error' in message) pending.reject(receiveError(message.error))
    else pending.resolve(message.value)
  }

  #end(error: Error): void {
    this.#ended ??= error
    for (const { reject } of this.#pending.values()) reject(error)
    this.#pending.clear()
  }
}

/** Arguments without what cannot be sent: functions and a signal among the options. */
function sendable(args: readonly unknown[]): {
  sent: unknown[]
  signal: AbortSignal | undefined
  listeners: Record<string, (...values: unknown[]) => void>
} {
  const sent = args.map(plain)
  const options = sent.at(-1)
  if (!isPlain(options)) return { sent, signal: undefined, listeners: {} }
  const { signal, ...rest } = checked(options)
  const functions = Object.entries(rest).filter(([, value]) => typeof value === 'function')
  for (const [name] of functions) {
    if (!/^on[A-Z]/.test(name)) throw new XfsError('INVAL', `${name}: a function cannot be sent to the worker`)
    delete rest[name]
  }
  sent[sent.length - 1] = rest
  return {
    sent,
    signal: signal as AbortSignal | undefined,
    listeners: Object.fromEntries(functions) as Record<string, (...values: unknown[]) => void>,
  }
}

/** What is sent in the place of an object. */
export const sentAs = new WeakMap<object, Descriptor>()

export const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype

/** A value in the form in which it can be sent. */
export function plain(value: unknown): unknown {
  if (value instanceof URL) return fileURLToPath(value)
  return sentAs.get(value as object) ?? value
}
