import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { guarded } from '../device/file.ts'
import type { HostPath } from '../device/hostpath.ts'
import { XfsError } from '../errors.ts'

export { guarded } from '../device/file.ts'
export { type FileStamp, stampOf } from '../device/filestamp.ts'
export type { HostPath } from '../device/hostpath.ts'
export { writeOutput } from '../device/outputfile.ts'

/** A file of the host: its path, a `file:` URL, or a path that is not UTF-8. */
export type HostTarget = string | URL | { readonly path: HostPath }

/** Bytes that arrive over time: a stream of Node or of the web, a generator. */
export type ByteStream = AsyncIterable<Uint8Array>

export const isHostTarget = <T extends object>(target: HostTarget | T): target is HostTarget =>
  typeof target === 'string' ||
  target instanceof URL ||
  (typeof target === 'object' && target !== null && 'path' in target)

/** @throws XfsError INVAL */
export function hostPathOf(target: HostTarget): HostPath {
  if (typeof target === 'string') return target
  if (target instanceof URL) {
    if (target.protocol !== 'file:') throw new XfsError('INVAL', `${target.href} is not a file: URL`)
    return fileURLToPath(target)
  }
  if (typeof target?.path === 'string' || target?.path instanceof Uint8Array) return target.path
  throw new XfsError('INVAL', 'not a path, URL or { path }')
}

export const hostBytesOf = (target: HostTarget): Buffer => Buffer.from(hostPathOf(target) as string)

export const isStream = (value: object | string): value is ByteStream =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value

/** An open archive. */
export interface OpenArchive {
  readonly host: Buffer
  readonly tar: number
  close(): void
}

/** A descriptor of an open archive. */
export const isDescriptor = (value: object | string): value is { readonly fd: number } =>
  typeof value === 'object' && value !== null && 'fd' in value && typeof value.fd === 'number'

/**
 * Open a tar archive for reading. An archive is read synchronously: what arrives over time is
 * collected in a temporary file, which has no name.
 * @throws XfsError NOENT, IO; and what the stream throws
 */
export async function openArchive(
  source: HostTarget | ByteStream | { readonly fd: number },
  signal?: AbortSignal,
): Promise<OpenArchive> {
  if (isDescriptor(source)) return { host: Buffer.from('the archive'), tar: source.fd, close() {} }
  if (!isStream(source)) {
    const host = hostBytesOf(source)
    return archive(
      host,
      guarded(host, 'read', () => openSync(host, 'r')),
    )
  }
  const folder = guarded(tmpdir(), 'write', () => mkdtempSync(join(tmpdir(), 'xfskit-')))
  const path = join(folder, 'archive')
  const to = guarded(path, 'write', () => openSync(path, 'wx', 0o600))
  try {
    for await (const bytes of source) {
      signal?.throwIfAborted()
      guarded(path, 'write', () => {
        for (let done = 0; done < bytes.length; ) done += writeSync(to, bytes, done)
      })
    }
    signal?.throwIfAborted()
    return archive(Buffer.from('the archive'), openSync(path, 'r'))
  } finally {
    closeSync(to)
    rmSync(folder, { recursive: true })
  }
}

const archive = (host: Buffer, tar: number): OpenArchive => ({ host, tar, close: () => closeSync(tar) })
