import { constants, type PathLike as HostPathLike } from 'node:fs'
import type * as fsp from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Worker } from 'node:worker_threads'
import { startWorker } from '../device/workers.ts'
import { XfsError } from '../errors.ts'
import { optionsOf as checked } from '../xfsimage/arguments.ts'
import { isHostTarget } from '../xfsimage/host.ts'
import type { Dirent } from '../xfsimage/stats.ts'
import type { FileOpenOptions, ImageTarget } from '../xfsimage/xfsimage.ts'
import { Connection, plain } from './connection.ts'
import { Directory } from './directory.ts'
import { nodeError } from './errors.ts'
import { FileHandle } from './filehandle.ts'
import { callForm, forms } from './forms.ts'
import type { Methods } from './methods.ts'
import { modeOf, shown } from './nodevalues.ts'
import { CLOSE, type Start } from './protocol.ts'

/** The program's side of the promise form: calls go to the worker, results get Node's form. */

/** Methods of an XFS image that Node's form does not have. */
const xfsMethods = [
  'sync', 'report', 'mknod', 'chattr', 'fallocate', 'listxattr', 'getxattr', 'setxattr', 'removexattr', 'exchange',
  'reflink', 'dedupe', 'unshare', 'defragment', 'extents', 'shares', 'owners', 'usage', 'put', 'get', 'check', 'recover', 'repair',
] as const satisfies readonly (keyof Methods)[] // biome-ignore format: a list

type Called<M> = M extends (state: never, ...args: infer Args) => infer Result
  ? (...args: Args) => Promise<Awaited<Result>>
  : never

/** The methods of `node:fs/promises` that an image has. */
export type NodeForm = Pick<typeof fsp, Exclude<keyof typeof forms, 'readdir'>> & {
  readdir: typeof fsp.readdir
  open(path: HostPathLike, flags?: string | number, mode?: number | string): Promise<FileHandle>
  opendir(path: HostPathLike, options?: { readonly recursive?: boolean }): Promise<Directory>
}

/** The methods that only an image has: those of `XfsImage`, with results as plain data. */
export type XfsForm = { [M in (typeof xfsMethods)[number]]: Called<Methods[M]> }

/** An opened image in the form of `node:fs/promises`. */
export interface XfsPromises extends NodeForm, XfsForm, AsyncDisposable {
  /** The object itself, for tools that look for it in an `fs`. */
  readonly promises: XfsPromises
  readonly constants: typeof constants
  readonly writable: boolean
  readonly needsRepair: boolean
  /** Wait for the calls before, make changes durable, release the image, and end the worker. */
  close(): Promise<void>
}

/** @throws XfsError as `XfsImage.open` */
export async function open(target: ImageTarget, options: FileOpenOptions = {}): Promise<XfsPromises> {
  if (!(target instanceof ArrayBuffer || target instanceof Uint8Array || isHostTarget(target)))
    throw new XfsError('INVAL', 'a Device cannot be sent to the worker: a path or the bytes of an image')
  for (const [name, value] of Object.entries(checked(options)))
    if (typeof value === 'function' || typeof value === 'symbol')
      throw new XfsError('INVAL', `${name}: a ${typeof value} cannot be sent to the worker`)
  const start: Start = { target: target instanceof URL ? fileURLToPath(target) : target, options }
  const worker = startWorker('worker/server.js', start)
  if (!worker) throw new XfsError('IO', 'the script of the worker is missing')
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  const connection = new Connection(worker)
  const state = (await connection.started()) as { readonly writable: boolean; readonly needsRepair: boolean }

  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    closing ??= closeImage(connection, worker, ended)
    openImages.delete(close)
    return closing
  }
  if (openImages.size === 0) process.once('beforeExit', closeAll)
  openImages.add(close)

  const methods = {
    ...Object.fromEntries(
      Object.keys(forms).map((name) => [
        name,
        (...args: unknown[]) => callForm(connection, name as keyof typeof forms, args),
      ]),
    ),
    ...Object.fromEntries(
      xfsMethods.map((name) => [
        name,
        async (...args: unknown[]) => {
          try {
            return await connection.call(name, args)
          } catch (error) {
            throw nodeError(error as Error, name, shown(plain(args[0])))
          }
        },
      ]),
    ),
  } as unknown as NodeForm & XfsForm
  const fs: XfsPromises = {
    ...methods,
    async open(path, flags = 'r', mode) {
      const args = [plain(path), flags, ...(mode === undefined ? [] : [modeOf(mode)])]
      try {
        return new FileHandle(connection, (await connection.call('open', args)) as number, shown(args[0]))
      } catch (error) {
        throw nodeError(error as Error, 'open', shown(args[0]))
      }
    },
    async opendir(path, options = {}) {
      const entries = (await methods.readdir(path, { ...options, withFileTypes: true })) as unknown as Dirent[]
      return new Directory(shown(plain(path)) ?? '', entries)
    },
    ...state,
    constants,
    close,
    [Symbol.asyncDispose]: close,
    // Set below: tools read it as a plain property.
    promises: undefined as unknown as XfsPromises,
  }
  return Object.assign(fs, { promises: fs })
}

/** Images that a program has not closed are closed when it has nothing else to do. */
const openImages = new Set<() => Promise<void>>()
const closeAll = (): void => {
  for (const close of openImages) void close()
}

async function closeImage(connection: Connection, worker: Worker, ended: Promise<void>): Promise<void> {
  const closed = connection.call(CLOSE, [])
  connection.end()
  try {
    await closed
  } finally {
    worker.ref()
    await ended
  }
}
