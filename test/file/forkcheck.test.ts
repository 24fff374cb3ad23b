import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { setAttributes } from '../../src/attr/setattr.ts'
import { removeXattr, setXattr } from '../../src/attr/xattrs.ts'
import { falloc, fcollapse, finsert, fpunch, fzero, truncate } from '../../src/data/fallocate.ts'
import { writeFile } from '../../src/data/write.ts'
import { XfsError } from '../../src/errors.ts'
import { BmbtRec } from '../../src/format/btrecs.ts'
import { openInode } from '../../src/inode/inode.ts'
import { ioSession } from '../../src/io/io.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { dedupe } from '../../src/reflink/dedupe.ts'
import { fsr } from '../../src/reflink/fsr.ts'
import { reflink } from '../../src/reflink/reflink.ts'
import { unshare } from '../../src/reflink/unshare.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'
import { Image } from '../check/image.ts'
import { repoRoot } from '../support/temp.ts'

/** Contradictory extents are refused before the image is changed. */

const bytes = gunzipSync(readFileSync(join(repoRoot(), 'fixtures/clean/image.gz')))

interface Targets {
  /** Regular files: in extents format, in btree format, and with attributes in some extents. */
  readonly inline: number
  readonly tree: number
  readonly attr: number
  /** A sound file, and its path. */
  readonly sound: number
}

const SOUND = '/sound'

function targets(image: Image): Targets {
  const regular = (view: DataView): boolean => (view.getUint16(2) & 0o170000) === 0o100000
  const inline = image.findInode((view) => regular(view) && view.getUint8(5) === 2 && view.getUint32(28) === 1)
  const volume = Volume.open(image.device, { write: true })
  for (const offset of [2 ** 20, 2 ** 21]) writeFile(volume, inline, offset, new Uint8Array(10_000).fill(offset))
  const sound = createFile(volume, SOUND, 0o644).ino
  writeFile(volume, sound, 0, new Uint8Array(50_000).fill(3))
  const attr = createFile(volume, '/attributes', 0o644).ino
  for (let i = 0; i < 4; i++) {
    setXattr(volume, attr, Buffer.from(`user.${i}`), new Uint8Array(5000).fill(i))
    // The next extent is not contiguous with this one.
    writeFile(volume, sound, 2 ** 20 * (i + 1), new Uint8Array(5000))
  }
  volume.close()
  const tree = image.findInode((view) => regular(view) && view.getUint8(5) === 3)
  return { inline, tree, attr, sound }
}

type Damage = (first: BmbtRec, second: BmbtRec) => readonly [BmbtRec, BmbtRec]
const damages: Readonly<Record<string, Damage>> = {
  overlapping: (a, b) => [{ ...a, blockcount: b.startoff - a.startoff + 1 }, b],
  unsorted: (a, b) => [b, a],
  'zero-length': (a, b) => [{ ...a, blockcount: 0 }, b],
  'out of range': (a, b) => [{ ...a, startblock: 2 ** 40 }, b],
  'mapped twice': (a, b) => [a, { ...b, startblock: a.startblock }],
}

type Change = (volume: Volume, ino: number, sound: number) => unknown

const all = { srcOffset: 0, dstOffset: 0, length: 0 }
const some = { ...all, length: 4096 }
const name = (text: string): Buffer => Buffer.from(text)

const calls: Readonly<Record<string, Change>> = {
  write: (volume, ino) => writeFile(volume, ino, 0, new Uint8Array(100_000).fill(1)),
  append: (volume, ino) => writeFile(volume, ino, openInode(volume, ino).size, new Uint8Array(5000)),
  truncate: (volume, ino) => truncate(volume, ino, 0),
  fpunch: (volume, ino) => fpunch(volume, ino, 0, 8192),
  fzero: (volume, ino) => fzero(volume, ino, 0, 8192),
  falloc: (volume, ino) => falloc(volume, ino, 0, 65536),
  fcollapse: (volume, ino) => fcollapse(volume, ino, 0, volume.geometry.blocksize),
  finsert: (volume, ino) => finsert(volume, ino, 0, volume.geometry.blocksize),
  chmod: (volume, ino) => setAttributes(volume, ino, { permissions: 0o600 }),
  'set xattr': (volume, ino) => setXattr(volume, ino, name('user.new'), new Uint8Array(9000)),
  'set xattr again': (volume, ino) => setXattr(volume, ino, name('user.1'), new Uint8Array(9)),
  'remove xattr': (volume, ino) => removeXattr(volume, ino, name('user.1')),
  'reflink from': (volume, ino, sound) => finish(reflink(volume, ino, sound, all)),
  'reflink to': (volume, ino, sound) => finish(reflink(volume, sound, ino, all)),
  'reflink within': (volume, ino) => finish(reflink(volume, ino, ino, { ...some, dstOffset: 2 ** 22 })),
  'dedupe from': (volume, ino, sound) => finish(dedupe(volume, ino, sound, some)),
  'dedupe to': (volume, ino, sound) => finish(dedupe(volume, sound, ino, some)),
  unshare: (volume, ino) => finish(unshare(volume, ino, { offset: 0, length: 2 ** 20 })),
  fsr: (volume, ino) => finish(fsr(volume, ino)),
  'fsr, sharing kept': (volume, ino) => finish(fsr(volume, ino, { shared: 'keep' })),
  'fsr, unshared': (volume, ino) => finish(fsr(volume, ino, { shared: 'unshare' })),
}

/** Commands of io, on a file that was opened before it was damaged. */
const ioLines: readonly string[] = [
  'pwrite 0 100k', 'pwrite -S 7 3m 5000', 'truncate 0', 'truncate 10m', 'falloc 0 1m', 'falloc -k 8m 64k', 'falloc -p 0 8k',
  'falloc -c 0 4k', 'falloc -i 0 4k', 'falloc -u 0 1m', 'fpunch 0 8k', 'fcollapse 0 4k', 'finsert 0 4k', 'fzero 0 8k',
  'fzero -k 0 8k', 'funshare 0 1m', `reflink ${SOUND}`, `reflink ${SOUND} 0 0 4k`, `dedupe ${SOUND} 0 0 4k`,
  `copy_range ${SOUND}`, 'extsize 64k', 'cowextsize 64k', 'chattr +d', 'chproj 7', 'chmod -r',
] // biome-ignore format: a table

/** The output of the command, or its error. */
function runIo(volume: Volume, ino: number, line: string): string {
  let text = ''
  const print = (more: string): void => {
    text += more
  }
  const session = ioSession({ volume, out: print, error: print })
  session.files.push({ name: 'file', ino, flags: {}, writable: true })
  session.current = session.files[0]
  try {
    session.run(line, true)
    return text
  } catch (error) {
    if (isCorrupt(error)) return text + CORRUPT
    throw error
  }
}

const CORRUPT = 'Structure needs cleaning'
const isCorrupt = (error: unknown): boolean => error instanceof XfsError && error.code === 'CORRUPT'

for (const [kind, damage] of Object.entries(damages)) {
  for (const form of ['inline', 'tree', 'attr'] as const) {
    test(`extents of a fork that are ${kind} (${form}): CORRUPT, and nothing is changed`, () => {
      const image = new Image(Uint8Array.from(bytes))
      const { [form]: ino, sound } = targets(image)
      const edit = (view: DataView, at: number): void => {
        const [first, second] = damage(BmbtRec.decode(view, at), BmbtRec.decode(view, at + 16))
        BmbtRec.encode(view, at, first)
        BmbtRec.encode(view, at + 16, second)
      }
      image.editInode(ino, (view) => view.setUint32(124, view.getUint32(124) & ~2)) // it has no shared blocks
      if (form === 'tree')
        image.editBmbt((image.bmbtChildren(ino)[0] as { fsbno: number }).fsbno, (view) =>
          edit(view, image.geometry.longHeader),
        )
      else
        image.editInode(ino, (view) => {
          const forkoff = form === 'attr' ? view.getUint8(82) * 8 : 0
          edit(view, image.geometry.coresize + forkoff)
        })
      const before = Uint8Array.from(image.bytes)
      const attempt = (what: string, run: (volume: Volume) => void): void => {
        const volume = Volume.open(image.device, { write: true })
        run(volume)
        volume.close()
        assert.equal(Buffer.compare(before, image.bytes), 0, `${what} changed the image`)
      }
      for (const [what, run] of Object.entries(calls))
        attempt(what, (volume) => assert.throws(() => run(volume, ino, sound), isCorrupt, what))
      for (const line of ioLines) attempt(line, (volume) => assert.ok(runIo(volume, ino, line).includes(CORRUPT), line))
    })
  }
}
