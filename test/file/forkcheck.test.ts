import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { XfsError } from '../../src/errors.ts'
import { openInode } from '../../src/file/inode.ts'
import { falloc, fcollapse, fpunch, fzero, truncate } from '../../src/file/range.ts'
import { chmod } from '../../src/file/setattr.ts'
import { writeFile } from '../../src/file/write.ts'
import { BmbtRec } from '../../src/format/btrecs.ts'
import { Volume } from '../../src/volume.ts'
import { Image } from '../check/image.ts'
import { repoRoot } from '../support/temp.ts'

/** Extents that contradict one another are refused before any byte of the image is changed. */

const bytes = gunzipSync(readFileSync(join(repoRoot(), 'fixtures/clean/image.gz')))

/** A regular file with some extents in the inode, and one with a bmbt. */
function targets(image: Image): { inline: number; tree: number } {
  const regular = (view: DataView): boolean => (view.getUint16(2) & 0o170000) === 0o100000
  const inline = image.findInode((view) => regular(view) && view.getUint8(5) === 2 && view.getUint32(28) === 1)
  const volume = Volume.open(image.device, { write: true })
  for (const offset of [2 ** 20, 2 ** 21]) writeFile(volume, inline, offset, new Uint8Array(10_000).fill(offset))
  volume.close()
  return { inline, tree: image.findInode((view) => regular(view) && view.getUint8(5) === 3) }
}

type Damage = (first: BmbtRec, second: BmbtRec) => readonly [BmbtRec, BmbtRec]
const damages: Readonly<Record<string, Damage>> = {
  overlapping: (a, b) => [{ ...a, blockcount: b.startoff - a.startoff + 1 }, b],
  unsorted: (a, b) => [b, a],
  'zero-length': (a, b) => [{ ...a, blockcount: 0 }, b],
  'out of range': (a, b) => [{ ...a, startblock: 2 ** 40 }, b],
  'mapped twice': (a, b) => [a, { ...b, startblock: a.startblock }],
}

const commands: Readonly<Record<string, (volume: Volume, ino: number) => unknown>> = {
  write: (volume, ino) => writeFile(volume, ino, 0, new Uint8Array(100_000).fill(1)),
  append: (volume, ino) => writeFile(volume, ino, openInode(volume, ino).size, new Uint8Array(5000)),
  truncate: (volume, ino) => truncate(volume, ino, 0),
  fpunch: (volume, ino) => fpunch(volume, ino, 0, 8192),
  fzero: (volume, ino) => fzero(volume, ino, 0, 8192),
  falloc: (volume, ino) => falloc(volume, ino, 0, 65536),
  fcollapse: (volume, ino) => fcollapse(volume, ino, 0, volume.geometry.blocksize),
  chmod: (volume, ino) => chmod(volume, ino, 0o600),
}

for (const [kind, damage] of Object.entries(damages)) {
  for (const form of ['inline', 'tree'] as const) {
    test(`extents of a fork that are ${kind} (${form}): CORRUPT, and nothing is changed`, () => {
      const image = new Image(Uint8Array.from(bytes))
      const ino = targets(image)[form]
      const edit = (view: DataView, at: number): void => {
        const [first, second] = damage(BmbtRec.decode(view, at), BmbtRec.decode(view, at + 16))
        BmbtRec.encode(view, at, first)
        BmbtRec.encode(view, at + 16, second)
      }
      image.editInode(ino, (view) => view.setUint32(124, view.getUint32(124) & ~2)) // nothing of it is shared
      if (form === 'inline') image.editInode(ino, (view) => edit(view, image.geometry.coresize))
      else
        image.editBmbt((image.bmbtChildren(ino)[0] as { fsbno: number }).fsbno, (view) =>
          edit(view, image.geometry.longHeader),
        )
      const before = Uint8Array.from(image.bytes)
      for (const [name, run] of Object.entries(commands)) {
        const volume = Volume.open(image.device, { write: true })
        assert.throws(
          () => run(volume, ino),
          (error) => error instanceof XfsError && error.code === 'CORRUPT',
          name,
        )
        volume.close()
        assert.equal(Buffer.compare(before, image.bytes), 0, `${name} changed the image`)
      }
    })
  }
}
