import { parentPort, workerData } from 'node:worker_threads'
import { XfsImage } from '../xfsimage/xfsimage.ts'
import { sendError } from './errors.ts'
import { methods, type State } from './methods.ts'
import { type Abort, type Answer, type Call, CLOSE, type Event, type Start } from './protocol.ts'

/** The worker of an image: it does one call after the other, in the order in which they arrive. */

const port = parentPort as NonNullable<typeof parentPort>
const queue: Call[] = []
const controllers = new Map<number, AbortController>()

const answer = (message: Answer): void => port.postMessage(message, transferable(message))

/** Whole buffers are moved, not copied. */
function transferable(message: Answer): ArrayBuffer[] {
  const value = 'value' in message ? message.value : undefined
  if (!(value instanceof Uint8Array)) return []
  const { buffer, byteLength } = value
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? [buffer] : []
}

async function work(state: State): Promise<void> {
  for (let call = queue.shift(); call; call = queue.shift()) {
    const { id, method } = call
    try {
      answer({ id, value: method === CLOSE ? state.image.close() : await callMethod(state, call) })
    } catch (error) {
      answer({ id, error: sendError(error) })
    }
    controllers.delete(id)
    if (method === CLOSE) port.close()
  }
}

const sendable = (value: unknown): unknown => (value instanceof Error ? sendError(value) : value)

function callMethod(state: State, { id, method, args, listens }: Call): unknown {
  const controller = controllers.get(id)
  controller?.signal.throwIfAborted()
  const action = methods[method as keyof typeof methods] as (state: State, ...args: unknown[]) => unknown
  if (listens.length === 0) return action(state, ...args)
  const listeners = listens
    .filter((name) => name !== 'signal')
    .map((event) => [
      event,
      (...values: unknown[]) => port.postMessage({ id, event, values: values.map(sendable) } satisfies Event),
    ])
  const options = {
    ...(args.at(-1) as object),
    ...Object.fromEntries(listeners),
    ...(controller && { signal: controller.signal }),
  }
  return action(state, ...args.slice(0, -1), options)
}

try {
  const { target, options } = workerData as Start
  const state: State = { image: XfsImage.open(target, options), files: new Map() }
  let working = false
  port.on('message', (message: Call | Abort) => {
    if ('abort' in message) {
      controllers.get(message.abort)?.abort()
      return
    }
    if (message.listens.includes('signal')) controllers.set(message.id, new AbortController())
    queue.push(message)
    if (working) return
    working = true
    void work(state).finally(() => {
      working = false
    })
  })
  answer({ id: 0, value: { writable: state.image.writable, needsRepair: state.image.needsRepair } })
} catch (error) {
  answer({ id: 0, error: sendError(error) })
  port.close()
}
