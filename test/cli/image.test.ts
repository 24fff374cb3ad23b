import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { CannotRun } from '../../src/cli/command.ts'
import { withImage } from '../../src/cli/open.ts'
import { Output } from '../../src/cli/output.ts'
import { openFile } from '../../src/device/file.ts'
import { XfsError } from '../../src/errors.ts'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import { XfsImage } from '../../src/xfsimage/xfsimage.ts'
import { judge } from '../support/judge.ts'
import { crashImage, mountImage, skip } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'

const folder = tempDir()
const at = (name: string): string => join(folder, name)
const fresh = at('fresh')
mkfsFile(fresh, { size: 64 * 2 ** 20 })

function image(name: string): string {
  copyFileSync(fresh, at(name))
  return at(name)
}

function session() {
  const said: string[] = []
  const keep = (text: string): void => void said.push(text)
  return { out: new Output({ form: 'text', sink: keep, errorSink: keep }), said }
}

const setLabel = (image: XfsImage, label: string): void => image.writeFile('/label', label)
const labelOf = (path: string): string => XfsImage.open(path).readFile('/label', 'utf8')
const code = (expected: string) => (error: unknown) => error instanceof XfsError && error.code === expected

test('a change', async () => {
  const path = image('change')
  const answer = await withImage(session(), path, 'write', {}, (opened) => {
    setLabel(opened, 'changed')
    return 42
  })
  assert.equal(answer, 42)
  assert.equal(labelOf(path), 'changed')
  judge(path)
})

test('an error: what was committed before it stays, and the image is sound', async () => {
  const path = image('error')
  const failing = withImage(session(), path, 'write', {}, (opened) => {
    setLabel(opened, 'one')
    opened.writeFile('/large', new Uint8Array(80 * 2 ** 20))
  })
  await assert.rejects(failing, code('NOSPC'))
  assert.equal(labelOf(path), 'one')
  assert.deepEqual(XfsImage.open(path).readdir('/'), ['label'])
  judge(path)
})

test('a dry run writes nothing and reports what it would write', async () => {
  const path = image('dry')
  const before = readFileSync(path)
  const { out, said } = session()
  await withImage({ out }, path, 'write', { dryRun: true }, (opened) => setLabel(opened, 'dry'))
  out.flush()
  assert.match(said.join(''), /^dry run: would write \d+ bytes in \d+ places?; nothing was written\n$/)
  assert.ok(readFileSync(path).equals(before))
})

test('--output: the image stays, the copy is sparse and changed; a failure leaves no copy', async () => {
  const path = image('original')
  const before = readFileSync(path)
  await withImage(session(), path, 'write', { output: at('copy') }, (opened) => setLabel(opened, 'copy'))
  assert.equal(labelOf(at('copy')), 'copy')
  assert.ok(statSync(at('copy')).blocks * 512 < 32 * 2 ** 20)
  judge(at('copy'))
  const refused = withImage(session(), path, 'write', { output: at('none') }, () => {
    throw new XfsError('INVAL', 'refused')
  })
  await assert.rejects(refused, code('INVAL'))
  assert.ok(!existsSync(at('none')))
  await assert.rejects(
    withImage(session(), path, 'write', { output: path }, () => {}),
    CannotRun,
  )
  assert.ok(readFileSync(path).equals(before))
})

test('at an offset, nothing outside of the filesystem is touched', async () => {
  const edge = Buffer.alloc(2 ** 20, 0xee)
  writeFileSync(at('disk'), Buffer.concat([edge, readFileSync(fresh), edge]))
  await withImage(session(), at('disk'), 'write', { offset: 2 ** 20 }, (opened) => setLabel(opened, 'inside'))
  const disk = readFileSync(at('disk'))
  assert.ok(disk.subarray(0, 2 ** 20).equals(edge) && disk.subarray(-(2 ** 20)).equals(edge))
  writeFileSync(at('inside'), disk.subarray(2 ** 20, -(2 ** 20)))
  assert.equal(labelOf(at('inside')), 'inside')
  judge(at('inside'))
})

test('an image in use is refused by writers, not by readers', async () => {
  const path = image('busy')
  const holder = openFile(path, 'rw')
  await assert.rejects(
    withImage(session(), path, 'write', {}, () => {}),
    code('BUSY'),
  )
  await withImage(session(), path, 'read', {}, () => {})
  await withImage(session(), path, 'write', { dryRun: true }, () => {})
  holder.close()
})

test('a dirty log and a mounted image: writers are refused, readers warned', { skip: skip.kernel }, async () => {
  const path = image('dirty')
  crashImage(path, (mounted) => mkdirSync(join(mounted, 'folder')))
  const before = readFileSync(path)
  await assert.rejects(
    withImage(session(), path, 'write', {}, () => {}),
    code('DIRTYLOG'),
  )
  const { out, said } = session()
  await withImage({ out }, path, 'read', {}, () => {})
  assert.match(said.join(''), /warning: .*the log is dirty/)
  assert.ok(readFileSync(path).equals(before))
  mountImage(path, () => {})
  await withImage(session(), path, 'write', {}, () => {})
})

test('a filesystem with unknown features: writers and readers report their names', async () => {
  const path = image('unknown')
  const bytes = readFileSync(path)
  bytes.writeUInt32BE(bytes.readUInt32BE(212) | 0x80, 212) // features_ro_compat
  writeFileSync(path, bytes)
  const refused = (mode: 'read' | 'write') => withImage(session(), path, mode, {}, () => {})
  await assert.rejects(refused('write'), /features_ro_compat|checksum|CRC/i)
})

/** A process that changes the image until it is killed, one transaction per step. */
async function endless(path: string): Promise<ChildProcess> {
  const url = (module: string): string =>
    JSON.stringify(fileURLToPath(new URL(`../../src/${module}.js`, import.meta.url)))
  const script = `
    const { withImage } = await import(${url('cli/open')})
    const { pause } = await import(${url('cli/progress')})
    const { Output } = await import(${url('cli/output')})
    const out = new Output({ form: 'text' })
    async function change(image) {
      for (let done = 0; ; done++) {
        image.writeFile('/label', 'n' + (done % 1000))
        // Durable, but not finished: a killed process leaves it so.
        image.volume.committer.sync()
        if (done === 3) console.log('running')
        await pause()
      }
    }
    try {
      await withImage({ out }, process.argv[1], 'write', {}, change)
    } catch (error) {
      console.log(error.name, error.signal)
    }`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  return child
}

test('SIGINT and SIGTERM let the step end, and leave a sound image', {
  skip: process.platform === 'win32' ? 'no signals' : false,
}, async () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const path = image('signal')
    const child = await endless(path)
    let said = ''
    child.stdout?.on('data', (part) => {
      said += part
    })
    child.kill(signal)
    const [status] = await once(child, 'close')
    assert.equal(status, 0)
    assert.match(said, new RegExp(`Interrupted ${signal}`))
    assert.match(labelOf(path), /^n\d+/)
    judge(path)
  }
})

test('a killed writer leaves a dirty log, and its lock does not block others', async () => {
  const path = image('killed')
  const child = await endless(path)
  child.kill('SIGKILL')
  await once(child, 'close')
  await assert.rejects(
    withImage(session(), path, 'write', {}, () => {}),
    /the log is dirty/,
  )
  const { out, said } = session()
  await withImage({ out }, path, 'read', {}, () => {})
  assert.match(said.join(''), /warning: .*the log is dirty/)
  openFile(path, 'rw').close()
})
