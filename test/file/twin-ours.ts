import { flagsText, setAttributes } from '../../src/attr/setattr.ts'
import { removeXattr, setXattr, xattrs } from '../../src/attr/xattrs.ts'
import { readFile } from '../../src/data/data.ts'
import { falloc, fcollapse, finsert, fpunch, fzero, truncate } from '../../src/data/fallocate.ts'
import { writeFile, zeroTail } from '../../src/data/write.ts'
import { XfsError } from '../../src/errors.ts'
import type { Timestamp } from '../../src/format/time.ts'
import { type Inode, openInode } from '../../src/inode/inode.ts'
import { createFile, link, mkdir, mknod, rename, rmdir, symlink, unlink } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { statOf, typeLetters } from '../../src/namespace/stat.ts'
import { walkTree } from '../../src/namespace/tree.ts'
import { dedupe } from '../../src/reflink/dedupe.ts'
import { reflink } from '../../src/reflink/reflink.ts'
import { mappedRuns } from '../../src/reflink/sharing.ts'
import { unshare } from '../../src/reflink/unshare.ts'
import { add } from '../../src/util/bytes.ts'
import { finish } from '../../src/util/progress.ts'
import type { Volume } from '../../src/volume.ts'
import { byPath, hash, type Line, lineText, type MapRun, merged, type Twin, written } from './twin.ts'

const BILLION = 1_000_000_000n
const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1')
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

function timestamp(time: bigint): Timestamp {
  const nanoseconds = ((time % BILLION) + BILLION) % BILLION
  return { seconds: Number((time - nanoseconds) / BILLION), nanoseconds: Number(nanoseconds) }
}
const nanoseconds = ({ seconds, nanoseconds: rest }: Timestamp): bigint => BigInt(seconds) * BILLION + BigInt(rest)

/** Larger files are described by their mapped parts. */
export const WHOLE_CONTENT = 2 ** 24

/** Errors with the kernel's names. */
function named<T extends object>(twin: T): T {
  const translate =
    (action: (...args: unknown[]) => unknown) =>
    (...args: unknown[]) => {
      try {
        return action(...args)
      } catch (error) {
        if (!(error instanceof XfsError) || error.code === 'CORRUPT' || error.code === 'BADCRC') throw error
        throw Object.assign(new Error(error.message), {
          code: error.code === 'UNSUPPORTED' ? 'EOPNOTSUPP' : `E${error.code === 'RANGE' ? 'RANGE' : error.code}`,
        })
      }
    }
  return Object.fromEntries(Object.entries(twin).map(([name, action]) => [name, translate(action)])) as T
}

/** xfskit. */
export function ourTwin(volume: Volume): Twin {
  const ino = (path: string): number => open(path).ino
  const open = (path: string): Inode => resolve(volume, bytesOf(path), { follow: false })
  return named<Twin>({
    create: (path, mode) => void createFile(volume, bytesOf(path), mode),
    mkdir: (path, mode) => void mkdir(volume, bytesOf(path), mode),
    symlink: (target, path) => void symlink(volume, bytesOf(target), bytesOf(path)),
    link: (from, path) => link(volume, ino(from), bytesOf(path)),
    mknod: (path, mode, device) => void mknod(volume, bytesOf(path), mode, { device }),
    rename: (from, to, existing) => rename(volume, bytesOf(from), bytesOf(to), { existing }),
    unlink: (path) => unlink(volume, bytesOf(path)),
    rmdir: (path) => rmdir(volume, bytesOf(path)),
    write: (path, offset, bytes) => void writeFile(volume, ino(path), offset, bytes),
    truncate: (path, size) => truncate(volume, ino(path), size),
    allocate(path, mode, offset, length) {
      const file = ino(path)
      if (mode === 'alloc') falloc(volume, file, offset, length)
      else if (mode === 'allocKeep') falloc(volume, file, offset, length, { keepSize: true })
      else if (mode === 'punch') fpunch(volume, file, offset, length)
      else if (mode === 'zero') fzero(volume, file, offset, length)
      else if (mode === 'zeroKeep') fzero(volume, file, offset, length, { keepSize: true })
      else if (mode === 'collapse' || mode === 'insert') {
        // The kernel sets the size as truncate does. That clears the bytes past EOF, and so copies
        // a shared last block. We need not.
        zeroTail(volume, file, add(openInode(volume, file).size, length))
        if (mode === 'insert') finsert(volume, file, offset, length)
        else fcollapse(volume, file, offset, length)
      } else finish(unshare(volume, file, { offset, length }))
    },
    chmod: (path, mode) => setAttributes(volume, ino(path), { permissions: mode }),
    chown: (path, uid, gid) => setAttributes(volume, ino(path), { uid, gid }),
    setTimes: (path, atime, mtime) =>
      setAttributes(volume, ino(path), { atime: timestamp(atime), mtime: timestamp(mtime) }),
    attributes: (path, changes) => setAttributes(volume, ino(path), changes),
    setXattr: (path, name, value, mode) => setXattr(volume, ino(path), bytesOf(name), value, mode),
    removeXattr: (path, name) => removeXattr(volume, ino(path), bytesOf(name)),
    clone: (from, to, range) => void finish(reflink(volume, ino(from), ino(to), range)),
    dedupe(from, to, range) {
      const { same, bytes } = finish(dedupe(volume, ino(from), ino(to), range))
      return same ? `same ${bytes}` : 'differs'
    },
    manifest() {
      const lines: Line[] = []
      // A file with many names is read once.
      const known = new Map<number, Line>()
      for (const { path, inode } of walkTree(open(''))) {
        const line = known.get(inode.ino) ?? lineOf('', inode)
        known.set(inode.ino, line)
        lines.push({ ...line, path: textOf(path) })
      }
      return lines.sort(byPath).map(lineText)
    },
  })
}

function lineOf(path: string, inode: Inode): Line {
  const stat = statOf(inode)
  const { blocksize } = inode.volume.geometry
  const withFlags = inode.isRegular || inode.isDirectory
  const runs = inode.isRegular ? [...mappedRuns(inode)] : []
  const map = merged(
    runs.map(({ startoff, blockcount, unwritten, shared }) => ({
      start: startoff,
      length: blockcount,
      unwritten,
      shared,
    })),
  )
  return {
    path,
    type: typeLetters[stat.type],
    permissions: stat.permissions,
    uid: stat.uid,
    gid: stat.gid,
    nlink: stat.nlink,
    size: Number(stat.size),
    mtime: nanoseconds(stat.mtime),
    atime: nanoseconds(stat.atime),
    device: stat.device,
    target: stat.target && textOf(stat.target),
    xattrs: [...xattrs(inode)].map(({ name, value }) => [textOf(name), value.slice()] as const),
    ...(withFlags
      ? {
          flags: flagsText(stat.flags),
          projid: stat.projid,
          extsize: inode.extsize * blocksize,
          cowextsize: inode.cowextsize * blocksize,
        }
      : {}),
    ...(inode.isRegular ? { map, content: contentText(inode, map) } : {}),
  }
}

function contentText(inode: Inode, map: readonly MapRun[]): string {
  const { size } = inode
  if (size <= WHOLE_CONTENT) return hash(readFile(inode))
  const { blocksize } = inode.volume.geometry
  const parts = written(map).map(({ start, length }) => hash(readFile(inode, start * blocksize, length * blocksize)))
  return hash(Buffer.from(parts.join()))
}
