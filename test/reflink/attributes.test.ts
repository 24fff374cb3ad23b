import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { findAttr, setAttr } from '../../src/attr/attr.ts'
import { setAttributes } from '../../src/attr/setattr.ts'
import { openFile } from '../../src/device/file.ts'
import { AttrFlags } from '../../src/format/attr.ts'
import { openInode } from '../../src/inode/inode.ts'
import { mknod } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { makeImage, mountImage, newest, repairComplaints, skip } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'
import type { FileSystem } from './filesystem.ts'
import { kernelFileSystem } from './kernelfs.ts'
import { ourFileSystem } from './ourfs.ts'

/**
 * The effects of clone, dedupe and unshare on times, permissions, hints and capabilities, compared
 * with the kernel (as root).
 */
interface Side extends FileSystem {
  chmod(path: string, mode: number): void
  mode(path: string): number
  /** Wait until the clock advances; then `changed` reports which of mtime and ctime are newer. */
  wait(): void
  changed(path: string): string
  setHint(path: string, bytes: number): void
  hint(path: string): number
  setCapability(path: string): void
  hasCapability(path: string): boolean
}

const CAPABILITY = '0x0100000200040000000000000000000000000000'

function kernelSide(root: string): Side {
  const at = (path: string): string => join(root, path)
  const io = (path: string, command: string): string =>
    spawnSync(newest.io, ['-r', '-c', command, at(path)], { encoding: 'utf8' }).stdout
  let before = 0
  return {
    ...kernelFileSystem(root),
    chmod: (path, mode) => chmodSync(at(path), mode),
    mode: (path) => statSync(at(path)).mode & 0o7777,
    wait() {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
      before = Date.now()
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
    },
    changed(path) {
      const { mtimeMs, ctimeMs } = statSync(at(path))
      return [mtimeMs > before ? 'mtime' : '', ctimeMs > before ? 'ctime' : ''].filter(Boolean).join(' ')
    },
    setHint: (path, bytes) => void io(path, `cowextsize ${bytes}`),
    hint: (path) => Number(/\[(\d+)\]/.exec(io(path, 'cowextsize'))?.[1]),
    setCapability: (path) => void spawnSync('setfattr', ['-n', 'security.capability', '-v', CAPABILITY, at(path)]),
    hasCapability: (path) => spawnSync('getfattr', ['-n', 'security.capability', at(path)]).status === 0,
  }
}

const CAPABILITY_KEY = { space: AttrFlags.secure, name: new TextEncoder().encode('capability') }

function ourSide(volume: Volume, clock: { seconds: number }): Side {
  const ino = (path: string): number => resolve(volume, path).ino
  let before = 0
  return {
    ...ourFileSystem(volume, ''),
    chmod: (path, mode) => setAttributes(volume, ino(path), { permissions: mode }),
    mode: (path) => openInode(volume, ino(path)).mode & 0o7777,
    wait() {
      before = clock.seconds
      clock.seconds += 10
    },
    changed(path) {
      const { mtime, ctime } = openInode(volume, ino(path))
      return [mtime.seconds > before ? 'mtime' : '', ctime.seconds > before ? 'ctime' : ''].filter(Boolean).join(' ')
    },
    setHint: (path, bytes) => setAttributes(volume, ino(path), { cowextsize: bytes }),
    hint: (path) => openInode(volume, ino(path)).cowextsize * volume.geometry.blocksize,
    setCapability: (path) =>
      withTransaction(volume, (tx) =>
        setAttr(tx, openInode(volume, ino(path), tx), CAPABILITY_KEY, Buffer.from(CAPABILITY.slice(2), 'hex')),
      ),
    hasCapability: (path) => findAttr(openInode(volume, ino(path)), CAPABILITY_KEY) !== undefined,
  }
}

const B = 4096
const blocks = (fs: FileSystem, path: string, count: number, byte = 1): void => fs.pwrite(path, 0, count * B, byte)

/** Each case returns the final state. */
const cases: Readonly<Record<string, readonly [expected: string, steps: (fs: Side) => string]>> = {
  'clone: times': ['dst mtime ctime, src ', (fs) => {
    blocks(fs, 'a', 4); blocks(fs, 'b', 4); fs.wait(); fs.clone('a', 'b', 0, 0, 4 * B)
    return `dst ${fs.changed('b')}, src ${fs.changed('a')}`
  }],
  'clone: nothing to do leaves times': ['', (fs) => {
    blocks(fs, 'a', 4); blocks(fs, 'b', 4); fs.wait(); fs.clone('a', 'b', 4 * B, 0, 0)
    return fs.changed('b')
  }],
  'clone: refused leaves times': ['EINVAL ', (fs) => {
    blocks(fs, 'a', 4); blocks(fs, 'b', 4); fs.wait()
    return `${fs.clone('a', 'b', 100, 0, B)} ${fs.changed('b')}`
  }],
  'clone by root keeps set-id bits': ['6755', (fs) => {
    blocks(fs, 'a', 4); blocks(fs, 'b', 4); fs.chmod('b', 0o6755); fs.clone('a', 'b', 0, 0, 4 * B)
    return fs.mode('b').toString(8)
  }],
  'dedupe: times and set-id bits stay': [' 6755', (fs) => {
    blocks(fs, 'a', 4); blocks(fs, 'b', 4); fs.chmod('b', 0o6755); fs.wait(); fs.dedupe('a', 'b', 0, 0, 4 * B)
    return `${fs.changed('b')} ${fs.mode('b').toString(8)}`
  }],
  'clone takes file capabilities away': ['true false', (fs) => {
    blocks(fs, 'a', 4); blocks(fs, 'b', 4); fs.setCapability('b')
    const had = fs.hasCapability('b')
    fs.clone('a', 'b', 0, 0, 4 * B)
    return `${had} ${fs.hasCapability('b')}`
  }],
  'dedupe leaves file capabilities': ['true', (fs) => {
    blocks(fs, 'a', 4); blocks(fs, 'b', 4); fs.setCapability('b'); fs.dedupe('a', 'b', 0, 0, 4 * B)
    return String(fs.hasCapability('b'))
  }],
  'the hint comes with a whole file': ['65536', (fs) => {
    blocks(fs, 'a', 4); fs.setHint('a', 65536); fs.truncate('b', 0); fs.clone('a', 'b', 0, 0, 0)
    return String(fs.hint('b'))
  }],
  'the hint comes over a shorter file': ['65536', (fs) => {
    blocks(fs, 'a', 4); fs.setHint('a', 65536); blocks(fs, 'b', 2); fs.clone('a', 'b', 0, 0, 4 * B)
    return String(fs.hint('b'))
  }],
  'the hint does not come over a longer file': ['0', (fs) => {
    blocks(fs, 'a', 4); fs.setHint('a', 65536); blocks(fs, 'b', 6); fs.clone('a', 'b', 0, 0, 4 * B)
    return String(fs.hint('b'))
  }],
  'the hint does not come with a part': ['0', (fs) => {
    blocks(fs, 'a', 4); fs.setHint('a', 65536); fs.truncate('b', 0); fs.clone('a', 'b', 0, 0, 2 * B)
    return String(fs.hint('b'))
  }],
  'the hint does not come to another place': ['0', (fs) => {
    blocks(fs, 'a', 4); fs.setHint('a', 65536); fs.truncate('b', 0); fs.clone('a', 'b', 0, 4 * B, 4 * B)
    return String(fs.hint('b'))
  }],
  'a hint that is there stays': ['32768', (fs) => {
    blocks(fs, 'a', 4); fs.setHint('a', 65536); fs.truncate('b', 0); fs.setHint('b', 32768); fs.clone('a', 'b', 0, 0, 0)
    return String(fs.hint('b'))
  }],
  'the hint comes with a dedupe of whole files, too': ['65536', (fs) => {
    blocks(fs, 'a', 4); fs.setHint('a', 65536); blocks(fs, 'b', 4); fs.dedupe('a', 'b', 0, 0, 4 * B)
    return String(fs.hint('b'))
  }],
  'unshare: times': ['mtime ctime', (fs) => {
    blocks(fs, 'a', 4); fs.clone('a', 'b', 0, 0, 4 * B); fs.wait(); fs.unshare('b', 0, 4 * B)
    return fs.changed('b')
  }],
} // biome-ignore format: a case a row

test('times, permissions, hints and capabilities follow the kernel', { skip: skip.kernel || skip.newest }, () => {
  withTempDir((folder) => {
    const [image, twin] = [join(folder, 'image'), join(folder, 'twin')]
    makeImage(image, '300m')
    makeImage(twin, '300m')
    const clock = { seconds: 1_700_000_000 }
    const now = () => ({ seconds: clock.seconds, nanoseconds: 0 })
    const volume = Volume.open(openFile(image, 'rw'), { write: true, now })
    const fresh = (fs: FileSystem): void => {
      for (const path of ['a', 'b']) {
        fs.truncate(path, 0)
        fs.unlink(path)
      }
    }
    mountImage(twin, (root) => {
      for (const [name, [expected, steps]] of Object.entries(cases)) {
        const [ours, theirs] = [ourSide(volume, clock), kernelSide(root)]
        assert.equal(steps(theirs), expected, `the kernel: ${name}`)
        assert.equal(steps(ours), expected, name)
        fresh(theirs)
        fresh(ours)
      }
    })
    const fs = ourFileSystem(volume, '')
    blocks(fs, 'a', 1)
    mknod(volume, '/fifo', 0o010644)
    assert.equal(fs.clone('a', 'fifo', 0, 0, 0), 'EINVAL')
    assert.equal(fs.clone('fifo', 'a', 0, 0, 0), 'EINVAL')
    assert.equal(fs.dedupe('fifo', 'a', 0, 0, B), 'EINVAL')
    volume.close()
    assert.equal(repairComplaints(image), undefined)
  })
})
