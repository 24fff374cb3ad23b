// Everything that xfskit's `XfsImage` does, as a program outside of the package uses it.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  check,
  type Dirent,
  describeFinding,
  type Finding,
  type MakeOptions,
  mkfs,
  type Progress,
  recover,
  repair,
  type Stats,
  type TransferResult,
  XfsError,
  XfsImage,
} from 'xfskit'
import { type Device, memoryDevice, overlay } from 'xfskit/device'
import { describeStruct, structures } from 'xfskit/format'
import { open, type XfsPromises } from 'xfskit/promises'

const folder = mkdtempSync(join(tmpdir(), 'xfskit-program-'))
const path = join(folder, 'disk.img')
mkdirSync(join(folder, 'tree'))
writeFileSync(join(folder, 'tree', 'file'), 'from the host')

const options: MakeOptions = { imageSize: 64 * 2 ** 20, label: 'program', from: join(folder, 'tree') }
const { report, filled } = await mkfs(path, options)
assert.match(report, /reflink=1/)
assert.equal(filled?.files, 1)

const image: XfsImage = XfsImage.open(path, { write: true, log: 'refuse' })
image.mkdir('/a/b', { recursive: true })
image.writeFile('/a/b/file', 'x'.repeat(100_000))
image.appendFile('/a/b/file', 'y')
const text: string = image.readFile('/a/b/file', 'utf8')
const bytes: Uint8Array = image.readFile('/a/b/file', { offset: 99_999, length: 2 })
assert.deepEqual([text.length, [...bytes]], [100_001, [0x78, 0x79]])
const stat: Stats = image.stat('/a/b/file')
assert.equal(stat.size, 100_001)
image.rename('/a/b/file', '/a/file')
image.symlink('file', '/a/symlink')
image.link('/a/file', '/a/link')
image.truncate('/a/file', 90_000)
image.chmod('/a/file', 0o600)
image.chown('/a/file', 1, 2)
image.utimes('/a/file', 1, new Date(2000))
image.xattr.set('/a/file', 'user.origin', 'here')
assert.equal(new TextDecoder().decode(image.xattr.get('/a/file', 'user.origin')), 'here')
assert.equal(image.xattr.list('/a/file').length, 1)
image.xattr.remove('/a/file', 'user.origin')
const entries: Dirent[] = image.readdir('/a', { withFileTypes: true })
assert.deepEqual(entries.map(({ name }) => name).sort(), ['b', 'file', 'link', 'symlink'])
const names: string[] = image.readdir('/a')
assert.equal(names.length, 4)
image.rm('/a/b', { recursive: true })

await pipeline(Readable.from(['one ', 'two']), image.createWriteStream('/stream'))
let streamed = ''
for await (const piece of image.createReadStream('/stream', { start: 4, encoding: 'utf8' })) streamed += piece
assert.equal(streamed, 'two')
assert.equal(await image.writeFrom('/pieces', [new Uint8Array(5000)]), 5000)

let last: Progress | undefined
await image.reflink('/a/file', '/shared')
image.writeFile('/same', image.readFile('/shared'))
const { same } = await image.dedupe('/shared', '/same', { onProgress: (progress) => (last = progress) })
assert.ok(same)
assert.ok([...image.extents('/shared')].every(({ shared }) => shared))
assert.equal(new Set([...image.shares('/shared')].map(({ ino }) => ino)).size, 2)
assert.ok([...image.owners({ agno: 0 })].length > 10)
assert.equal((await image.unshare('/same')).cleared, true)
const put: TransferResult = await image.put(join(folder, 'tree'), '/tree', { owner: { uid: 0, gid: 0 } })
assert.equal(put.problemCount, 0)
await image.get('/tree', join(folder, 'out'))
assert.equal(readFileSync(join(folder, 'out', 'file'), 'utf8'), 'from the host')
const stopped = image.removeTree('/tree', { signal: AbortSignal.abort(new Error('stopped')) })
await assert.rejects(stopped, /stopped/)
try {
  image.readFile('/none')
  assert.fail('there is no such file')
} catch (error) {
  assert.ok(error instanceof XfsError && error.code === 'NOENT')
}
image.sync()
const findings: readonly Finding[] = image.check().findings.list
assert.deepEqual(findings.map(describeFinding), [])
assert.equal(image.recover().refused, undefined)
assert.equal(image.repair().changed, false)
image.close()

assert.deepEqual((await check(path)).findings.list, [])
assert.equal((await recover(path)).refused, undefined)
assert.equal((await repair(path, { dryRun: true })).changed, false)

const fs: XfsPromises = await open(path, { write: true })
await fs.writeFile('/promised', 'x')
const content: string = await fs.readFile('/promised', 'utf8')
const raw: Buffer = await fs.readFile('/promised')
assert.equal(content, raw.toString())
await fs.copyFile('/promised', '/copied')
assert.ok((await fs.readdir('/', { withFileTypes: true })).some((entry) => entry.name === 'copied' && entry.isFile()))
const file = await fs.open('/promised', 'r+')
assert.equal((await file.read({ buffer: Buffer.alloc(1) })).bytesRead, 1)
await file.close()
assert.equal((await fs.check()).total, 0)
await fs.close()

const device: Device = memoryDevice(64 * 2 ** 20)
await mkfs(device)
const dry = XfsImage.open(overlay(device), { write: true })
dry.writeFile('/f', 'x')
dry.close()
assert.equal(XfsImage.open(device).exists('/f'), false)

const superblock = structures.get('sb')
assert.ok(superblock)
assert.equal(describeStruct(superblock).fields[0]?.name, 'magicnum')
assert.equal(superblock.decode(new DataView(readFileSync(path).buffer))['dblocks'], 16384)

rmSync(folder, { recursive: true })
console.log('done', last?.what ?? '')
