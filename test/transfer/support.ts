import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { ACL_TAGS, aclToProgram } from '../../src/attr/acl.ts'
import { openFile } from '../../src/device/file.ts'
import { type Native, native } from '../../src/device/native.ts'
import { FILE_TYPES } from '../../src/format/dinode.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { Volume } from '../../src/volume.ts'
import { imageManifest } from '../support/manifest.ts'
import { skip } from '../support/oracles.ts'
import { type Syscalls, syscalls } from '../support/syscalls.ts'

/**
 * Copies are compared if owners, devices and attributes of all kinds can be created: as root, with
 * koffi.
 */
export const skipCopies: string | false = skip.kernel || (native() && syscalls() ? false : 'koffi is not installed')

export const calls = (): Syscalls => syscalls() as Syscalls

/** A tree of an image, as we read it. */
export function manifestOf(image: string, path = '/'): string[] {
  const volume = Volume.open(openFile(image, 'r'))
  try {
    return imageManifest(resolve(volume, path))
  } finally {
    volume.close()
  }
}

export const acl = aclToProgram([
  { tag: ACL_TAGS.userObj, id: -1, perm: 7 }, { tag: ACL_TAGS.user, id: 1000, perm: 5 }, { tag: ACL_TAGS.groupObj, id: -1, perm: 4 },
  { tag: ACL_TAGS.group, id: 3_000_000_000, perm: 6 }, { tag: ACL_TAGS.mask, id: -1, perm: 5 }, { tag: ACL_TAGS.other, id: -1, perm: 1 },
]) // biome-ignore format: a table

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')
const NOON = 1_750_000_000_123_456_789n

export interface TreeOptions {
  /** Attributes of the maximum size of XFS; other filesystems have a lower maximum. */
  readonly largeAttributes?: boolean
  readonly sockets?: boolean
}

/** Create a tree with one of every kind of file in `folder`, which must not exist. */
export function makeTree(folder: string, options: TreeOptions = {}): void {
  const os = native() as Native
  const at = (path: string): Buffer => Buffer.concat([Buffer.from(`${folder}/`), bytes(path)])
  const file = (path: string, content: Uint8Array | string, mode = 0o644): void => {
    writeFileSync(at(path), content)
    chmodSync(at(path), mode)
  }
  mkdirSync(folder, { recursive: true })
  for (const dir of ['empty', 'few', 'many', 'huge', 'deep']) mkdirSync(at(dir))
  file('small', 'hello\n')
  file('nothing', '')
  file('block', randomBytes(4096))
  file('odd size', randomBytes(70_001), 0o6755)
  file('large', randomBytes(5 * 2 ** 20 + 123), 0o640)
  sparse(join(folder, 'sparse'), 3 * 2 ** 20, [
    [0, 5000],
    [2 ** 20, 100_000],
    [3 * 2 ** 20 - 10, 10],
  ])
  sparse(join(folder, 'small sparse'), 300_000, [
    [100_000, 10],
    [200_000, 5000],
  ])
  sparse(join(folder, 'hole'), 2 ** 33, [])
  for (let i = 0; i < 7; i++) file(`few/${i}`, randomBytes(i * 1000))
  for (let i = 0; i < 300; i++) file(`many/a name of some length, ${i}`, randomBytes(i))
  for (let i = 0; i < 3000; i++) writeFileSync(at(`huge/${i} ${'x'.repeat(40)}`), '')
  let deep = 'deep'
  for (let i = 0; i < 40; i++) {
    deep += `/${'d'.repeat(60)}${i}`
    mkdirSync(at(deep), 0o750)
  }
  file(`${deep}/bottom`, 'deep')
  file('\xff\xfe\x01 odd\n', 'not UTF-8')
  file('n'.repeat(255), 'long')
  symlinkSync('small', at('link'))
  symlinkSync(bytes('\xff'.repeat(60)), at('odd link'))
  symlinkSync('l'.repeat(1000), at('long link'))
  symlinkSync('/no/where', at('dangling'))
  linkSync(at('odd size'), at('few/hard'))
  linkSync(at('odd size'), at('empty/hard too'))
  linkSync(at('large'), at('few/large too'))
  linkSync(at('link'), at('hard link of a link'))
  os.mknod(at('fifo'), FILE_TYPES.fifo | 0o622, 0, 0)
  os.mknod(at('null'), FILE_TYPES.chr | 0o666, 1, 3)
  os.mknod(at('blk'), FILE_TYPES.blk | 0o660, 259, 200_000)
  if (options.sockets !== false) os.mknod(at('sock'), FILE_TYPES.sock | 0o755, 0, 0)
  os.setXattr(at('small'), bytes('user.one'), randomBytes(100))
  os.setXattr(at('small'), bytes('user.empty'), new Uint8Array(0))
  os.setXattr(at('small'), bytes('trusted.two'), randomBytes(10))
  os.setXattr(at('small'), bytes('security.capability'), Buffer.from('0100000200000000000000000000000000000000', 'hex'))
  os.setXattr(at('block'), bytes(`user.${'n'.repeat(200)}`), randomBytes(1500))
  os.setXattr(at('large'), bytes('user.of a large file = 100%'), randomBytes(100))
  os.setXattr(at('link'), bytes('trusted.of a link'), randomBytes(20))
  os.setXattr(at('few'), bytes('user.of a directory'), randomBytes(300))
  if (options.largeAttributes) os.setXattr(at('nothing'), bytes('user.large'), randomBytes(60_000))
  os.setXattr(at('many'), bytes('system.posix_acl_default'), acl)
  os.setXattr(at('few/3'), bytes('system.posix_acl_access'), acl)
  chownSync(at('odd size'), 1000, 100)
  chownSync(at('large'), 4_000_000_000, 3_000_000_000)
  chmodSync(at('odd size'), 0o6755)
  lchownSync(at('odd link'), 7, 8)
  chownSync(at('few'), 12, 34)
  chmodSync(at('few'), 0o3770)
  os.setTimes(at('small'), 1n, -1_234_567_890_987_654_321n)
  os.setTimes(at('block'), 1n, 4_000_000_000_000_000_001n)
  os.setTimes(at('link'), NOON, NOON + 1n)
  os.setTimes(at('few'), NOON, NOON + 2n)
  os.setTimes(at('empty'), NOON, NOON + 3n)
  os.setTimes(Buffer.from(folder), NOON, NOON + 4n)
}

/** A file with holes around its data. */
export function sparse(path: string, size: number, data: readonly (readonly [offset: number, length: number])[]): void {
  const fd = openSync(path, 'w')
  ftruncateSync(fd, size)
  for (const [offset, length] of data) writeSync(fd, randomBytes(length), 0, length, offset)
  closeSync(fd)
}
