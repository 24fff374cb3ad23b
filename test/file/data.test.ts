import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeFile, writeWithin } from '../../src/data/write.ts'
import { openFile } from '../../src/device/file.ts'
import { openInode } from '../../src/inode/inode.ts'
import { createFile, createIn, mkdir, unlink } from '../../src/namespace/namespace.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { makeImage, manifest, repairSays, scratch, sha256 } from './support.ts'

/** A repeatable sequence of bytes. */
function bytesOf(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let state = seed + 1
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

for (const [name, size, args] of [
  ['newest defaults', '320m', []],
  ['1k blocks', '320m', ['-b', 'size=1k']],
  ['64k blocks', '1g', ['-b', 'size=64k']],
  ['no rmapbt, no reflink, no finobt', '320m', ['-m', 'rmapbt=0,reflink=0,finobt=0,inobtcount=0']],
  ['old counters, no parent pointers', '320m', ['-i', 'nrext64=0', '-n', 'parent=0']],
  ['1k inodes, 2k blocks', '320m', ['-i', 'size=1024', '-b', 'size=2k']],
] as const) {
  test(`files of every size, made by us and read by the kernel: ${name}`, (t) => {
    const image = join(scratch(t), 'a.img')
    makeImage(image, size, args)
    const volume = Volume.open(openFile(image, 'rw'), { write: true })
    const { blocksize } = volume.geometry
    const expected = new Map<string, string>()
    const around = [0, blocksize, 3 * blocksize, 2 ** 20, 5 * 2 ** 20]
      .flatMap((middle) => [middle - 1, middle, middle + 1])
      .filter((length) => length >= 0)
    for (let d = 0; d < 6; d++) {
      const dir = mkdir(volume, `/d${d}`, 0o40755)
      around.forEach((length, i) => {
        const content = bytesOf(length, d * 100 + i)
        expected.set(`/d${d}/${length}`, sha256(content))
        if (length <= 4 * blocksize) {
          withTransaction(volume, (tx) => {
            const file = createIn(tx, openInode(volume, dir.ino, tx), Buffer.from(`${length}`), 0o100644)
            writeWithin(tx, file, 0, content)
          })
          return
        }
        const file = createFile(volume, `/d${d}/${length}`, 0o100644)
        // In pieces of odd sizes; every other time without an announced length.
        const pieces = function* () {
          for (let at = 0, step = 1; at < length; at += step, step = (step * 7 + 3) % 300_000)
            yield content.subarray(at, at + step)
        }
        writeFile(volume, file.ino, 0, pieces(), d % 2 === 0 ? { length } : {})
      })
    }
    // A source that ends before its announced length.
    const short = createFile(volume, '/short', 0o100600)
    writeFile(volume, short.ino, 0, [new Uint8Array(10_000).fill(1)], { length: 1_000_000 })
    expected.set('/short', sha256(new Uint8Array(10_000).fill(1)))
    for (let d = 0; d < 6; d += 2) {
      unlink(volume, `/d${d}/${2 ** 20}`)
      expected.delete(`/d${d}/${2 ** 20}`)
    }
    volume.close()
    assert.equal(repairSays(image), '')
    const files = manifest(image).filter((file) => file.hash !== undefined)
    assert.deepEqual(new Map(files.map((file) => [file.path, file.hash])), expected)
    for (const file of files) {
      const blocks = Math.ceil(Number(file.size) / blocksize)
      assert.ok(Number(file.blocks) * 512 <= (blocks + 1) * blocksize, `${file.path} has ${file.blocks} blocks`)
      assert.ok((file.extents?.length ?? 0) <= 2, `${file.path} has ${file.extents?.length} extents`)
    }
  })
}
