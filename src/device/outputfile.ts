import {
  accessSync,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fsyncSync,
  lstatSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { basename, dirname } from 'node:path'
import { XfsError } from '../errors.ts'
import { guarded } from './file.ts'
import type { HostPath } from './hostpath.ts'
import { besideFile, ImageLocked, lockFileOf, takeLockFile } from './lockfile.ts'
import { namedHasEnded, nameOfProcess } from './process.ts'

/**
 * A file of the host that is replaced atomically: it is written under a temporary name in the same
 * folder and renamed at the end. Until then an existing file stays. The next process that writes
 * the same file removes the temporary file of a killed process.
 */
export interface OutputFile {
  /** The temporary path, which does not exist yet. */
  readonly path: HostPath
  /** The target is a device or a fifo, which is written directly. */
  readonly inPlace: boolean
  /** A file with that name exists. */
  readonly exists: boolean
  /** The file is complete: rename it. Durable when this returns. */
  commit(): void
  /** Remove it. */
  abandon(): void
}

let count = 0
/** Temporary files of this process, removed when it ends. */
const pending = new Set<HostPath>()
const removeAll = (): void => {
  for (const path of pending) remove(path)
}

/**
 * A symbolic link is followed.
 * @param owner 'kept': take owner and permissions of the replaced file
 * @throws XfsError IO if it cannot be written, or a link has no target
 */
export function outputFile(target: HostPath, owner: 'kept' | 'new' = 'kept'): OutputFile {
  const [there, entry] = guarded(target, 'stat', () =>
    [statSync, lstatSync].map((look) => look(target, { throwIfNoEntry: false })),
  )
  if (!there && entry) throw new XfsError('IO', `cannot write ${String(target)}: it is a dangling symbolic link`)
  if (there && !there.isFile()) return { path: target, inPlace: true, exists: true, commit() {}, abandon() {} }
  const real = guarded(target, 'write', () => {
    if (there) accessSync(target, constants.W_OK)
    return there ? realpathSync(target, { encoding: 'buffer' }) : inRealFolder(target)
  })
  removeLeftovers(real)
  const path = asText(temporaryName(real))
  if (pending.size === 0) process.once('exit', removeAll)
  pending.add(path)
  const forget = (): void => {
    pending.delete(path)
    if (pending.size === 0) process.removeListener('exit', removeAll)
  }
  return {
    path,
    inPlace: false,
    exists: there !== undefined,
    commit() {
      guarded(target, 'write', () => {
        if (there && owner === 'kept') keepOwner(path, there)
        syncFile(path)
        renameSync(path, real)
        syncFolder(real)
      })
      forget()
    },
    abandon() {
      forget()
      remove(path)
    },
  }
}

/** A unique temporary name in the folder of `path`. */
export const temporaryName = (path: Buffer): Buffer => besideFile(path, `.xfskit-${nameOfProcess()}-${++count}`)

/** Write a file of the host atomically. @throws XfsError IO, NOSPC */
export function writeOutput(target: HostPath, bytes: Uint8Array): void {
  const file = outputFile(target)
  try {
    guarded(target, 'write', () => {
      const fd = openSync(file.path, file.inPlace ? 'w' : 'wx')
      try {
        for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done)
      } finally {
        closeSync(fd)
      }
    })
    file.commit()
  } catch (error) {
    file.abandon()
    throw error
  }
}

/** Make renames in the folder of `path` durable. Windows does not support this. */
export function syncFolder(path: HostPath): void {
  if (process.platform !== 'win32') syncFile(folderOf(path))
}

function syncFile(path: HostPath): void {
  const fd = openSync(path, process.platform === 'win32' ? 'r+' : 'r')
  try {
    fsyncSync(fd)
  } catch (error) {
    // Some file systems do not support fsync of a folder.
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error
  } finally {
    closeSync(fd)
  }
}

/** The path as text if the conversion is exact: not every program accepts bytes. */
function asText(path: Buffer): HostPath {
  const text = path.toString('utf8')
  return Buffer.from(text).equals(path) ? text : path
}

/** Paths are bytes. */
const latin1 = (path: HostPath): string => Buffer.from(path as string).toString('latin1')
const folderOf = (path: HostPath): Buffer => Buffer.from(dirname(latin1(path)), 'latin1')

const inRealFolder = (target: HostPath): Buffer =>
  Buffer.concat([
    realpathSync(folderOf(target), { encoding: 'buffer' }),
    Buffer.from(`/${basename(latin1(target))}`, 'latin1'),
  ])

const TEMPORARY = /\.xfskit-(\d+-\d+-[0-9a-f]+)-\d+$/

/** Remove temporary files of this output, and their locks, if their process has certainly ended. */
function removeLeftovers(real: Buffer): void {
  const folder = folderOf(real)
  let names: Buffer[]
  try {
    names = readdirSync(folder, { encoding: 'buffer' })
  } catch {
    return // The folder may be writable, but not readable.
  }
  for (const name of names) {
    const [suffix, owner] = TEMPORARY.exec(latin1(name)) ?? []
    if (suffix === undefined || owner === undefined) continue
    const path = besideFile(real, suffix)
    if (basename(latin1(path)) !== latin1(name) || !namedHasEnded(owner)) continue
    try {
      const lock = takeLockFile(lockFileOf(path), latin1(path), false)
      remove(path)
      lock?.release()
    } catch (error) {
      // Long names are truncated: the lock may belong to another file.
      if (!(error instanceof ImageLocked)) throw error
    }
  }
}

/** The new file gets the owner of the replaced one, if permitted. */
function keepOwner(path: HostPath, { mode, uid, gid }: Stats): void {
  try {
    chownSync(path, uid, gid)
  } catch {
    // Only root may change the owner.
  }
  chmodSync(path, mode & 0o777)
}

function remove(path: HostPath): void {
  try {
    unlinkSync(path)
  } catch {
    // It does not exist, or belongs to another user.
  }
}
