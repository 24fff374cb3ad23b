import { readFile } from '../../src/data/data.ts'
import { falloc, fcollapse, finsert, fpunch, fzero, truncate } from '../../src/data/fallocate.ts'
import { writeFile } from '../../src/data/write.ts'
import { XfsError } from '../../src/errors.ts'
import { DIFLAGS } from '../../src/format/dinode.ts'
import { editInode, type Inode, updateInode } from '../../src/inode/inode.ts'
import { createFile, mkdir, unlink } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { dedupeAll } from '../../src/reflink/dedupe.ts'
import { reflink } from '../../src/reflink/reflink.ts'
import { mappedRuns } from '../../src/reflink/sharing.ts'
import { unshare } from '../../src/reflink/unshare.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { exact } from '../../src/util/bytes.ts'
import { finish } from '../../src/util/progress.ts'
import type { Volume } from '../../src/volume.ts'
import { type FileSystem, mapText } from './filesystem.ts'

const ERRNOS: Readonly<Record<string, string>> = {
  INVAL: 'EINVAL',
  ISDIR: 'EISDIR',
  PERM: 'EPERM',
  NOSPC: 'ENOSPC',
  FBIG: 'EFBIG',
}

/** xfskit's filesystem, below the directory `root`. */
export function ourFileSystem(volume: Volume, root: string): FileSystem {
  const at = (path: string): string => `${root}/${path}`
  const open = (path: string): Inode => resolve(volume, at(path))
  const made = (path: string): Inode => {
    try {
      return open(path)
    } catch (error) {
      if (!(error instanceof XfsError && error.code === 'NOENT')) throw error
      createFile(volume, at(path), 0o644)
      return open(path)
    }
  }
  const result = (action: () => string): string => {
    try {
      return action()
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      return ERRNOS[error.code] ?? error.code
    }
  }
  return {
    pwrite: (path, offset, length, byte) => {
      writeFile(volume, made(path).ino, offset, new Uint8Array(length).fill(byte))
    },
    truncate: (path, size) => truncate(volume, made(path).ino, size),
    falloc: (path, offset, length) => falloc(volume, made(path).ino, offset, length),
    fallocKeep: (path, offset, length) => falloc(volume, made(path).ino, offset, length, { keepSize: true }),
    punch: (path, offset, length) => fpunch(volume, made(path).ino, offset, length),
    zero: (path, offset, length) => fzero(volume, made(path).ino, offset, length),
    collapse: (path, offset, length) =>
      result(() => {
        fcollapse(volume, made(path).ino, offset, length)
        return 'ok'
      }),
    insert: (path, offset, length) =>
      result(() => {
        finsert(volume, made(path).ino, offset, length)
        return 'ok'
      }),
    mkdir: (path) => {
      mkdir(volume, at(path), 0o755)
    },
    unlink: (path) => unlink(volume, at(path)),
    chattr: (path, flag) => {
      const inode = open(path)
      withTransaction(volume, (tx) => {
        editInode(tx, inode)
        updateInode(tx, inode, {
          flags: flag === '+i' ? inode.flags | DIFLAGS.immutable : inode.flags & ~DIFLAGS.immutable,
        })
      })
    },
    clone: (src, dst, srcOffset, dstOffset, length) =>
      result(() => {
        const target = made(dst).ino
        finish(reflink(volume, open(src).ino, target, { srcOffset, dstOffset: exact(dstOffset), length }))
        return 'ok'
      }),
    dedupe: (src, dst, srcOffset, dstOffset, length) =>
      result(() => {
        const { same, bytes } = finish(
          dedupeAll(volume, made(src).ino, made(dst).ino, { srcOffset, dstOffset, length }),
        )
        return same ? `SAME ${bytes}` : `DIFFERS ${bytes}`
      }),
    unshare: (path, offset, length) =>
      result(() => {
        finish(unshare(volume, made(path).ino, { offset, length }))
        return 'ok'
      }),
    map: (path) =>
      mapText(
        (function* () {
          for (const run of mappedRuns(open(path)))
            yield { start: run.startoff, length: run.blockcount, shared: run.shared, unwritten: run.unwritten }
        })(),
      ),
    size: (path) => Number(open(path).size),
    content: (path) => Buffer.from(readFile(open(path))),
  }
}
