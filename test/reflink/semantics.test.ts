import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { mkdir } from '../../src/namespace/namespace.ts'
import { Volume } from '../../src/volume.ts'
import { checkFindings, makeImage, mountImage, repairComplaints, skip } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'
import { type Case, cases } from './cases.ts'
import type { FileSystem } from './filesystem.ts'
import { kernelFileSystem } from './kernelfs.ts'
import { ourFileSystem } from './ourfs.ts'
import { refcountsAlongFiles } from './refcounts.ts'

const BLOCK = 4096
const SMALL = 2 ** 20

/** The outcome of a case: its result, and for each listed file the map, the size and the bytes. */
function outcome(fs: FileSystem, { steps, maps = {}, sizes = {} }: Case) {
  const result = steps(fs, BLOCK)
  const files = new Set([...Object.keys(maps), ...Object.keys(sizes)])
  return {
    result,
    maps: Object.fromEntries(Object.keys(maps).map((path) => [path, fs.map(path)])),
    sizes: Object.fromEntries(Object.keys(sizes).map((path) => [path, fs.size(path)])),
    contents: Object.fromEntries(
      [...files].filter((path) => fs.size(path) < SMALL).map((path) => [path, runsOf(fs.content(path))]),
    ),
  }
}

/** Bytes as runs of equal values: `0x12 × 4096`. */
function runsOf(bytes: Uint8Array): string {
  const runs: string[] = []
  for (let start = 0; start < bytes.length; ) {
    const value = bytes[start]
    let end = start
    while (end < bytes.length && bytes[end] === value) end++
    runs.push(`${value} × ${end - start}`)
    start = end
  }
  return runs.join(', ')
}

function assertOutcome(found: ReturnType<typeof outcome>, { name, result, maps = {}, sizes = {} }: Case): void {
  assert.deepEqual({ result: found.result, maps: found.maps, sizes: found.sizes }, { result, maps, sizes }, name)
}

test('clone, dedupe and unshare do what the kernel does, case by case', { skip: skip.kernel || skip.newest }, () => {
  withTempDir((folder) => {
    const [image, twin] = [join(folder, 'image'), join(folder, 'twin')]
    makeImage(image, '300m')
    makeImage(twin, '300m')
    const volume = Volume.open(openFile(image, 'rw'), { write: true })
    const ours = cases.map((example, i) => {
      mkdir(volume, `/${i}`, 0o755)
      return outcome(ourFileSystem(volume, `/${i}`), example)
    })
    volume.close()
    for (const [i, example] of cases.entries()) assertOutcome(ours[i] as ReturnType<typeof outcome>, example)
    assert.deepEqual(checkFindings(image).slice(0, 20), [])
    assert.equal(repairComplaints(image), undefined)

    mountImage(twin, (root) => {
      for (const [i, example] of cases.entries()) {
        mkdirSync(join(root, String(i)))
        const kernel = outcome(kernelFileSystem(join(root, String(i))), example)
        assertOutcome(kernel, { ...example, name: `the kernel: ${example.name}` })
        assert.deepEqual(ours[i]?.contents, kernel.contents, `bytes after: ${example.name}`)
      }
    })

    assert.deepEqual(refcountsAlongFiles(image), refcountsAlongFiles(twin))

    mountImage(image, (root) => {
      for (const [i, example] of cases.entries()) {
        const fs = kernelFileSystem(join(root, String(i)))
        for (const [path, map] of Object.entries(example.maps ?? {}))
          assert.equal(fs.map(path), map, `the kernel reads ours: ${example.name}: ${path}`)
      }
    })
  })
})
