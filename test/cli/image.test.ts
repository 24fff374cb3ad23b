import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { CannotRun } from '../../src/cli/command.ts'
import { type VolumeOptions, withVolume } from '../../src/cli/image.ts'
import { Output } from '../../src/cli/output.ts'
import { openFile } from '../../src/device/file.ts'
import { XfsError } from '../../src/errors.ts'
import { Superblock } from '../../src/format/sb.ts'
import { mkfsFile } from '../../src/mkfs/mkfsfile.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import type { Volume } from '../../src/volume.ts'
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

const setLabel = (volume: Volume, label: string): void =>
  withTransaction(volume, (tx) => Superblock.fields.fname.set(tx.edit(volume.superblock(tx)), 0, label))
const labelOf = (path: string): string => Superblock.decode(new DataView(readFileSync(path).buffer, 0, 512)).fname
const code = (expected: string) => (error: unknown) => error instanceof XfsError && error.code === expected

test('a change', async () => {
  const path = image('change')
  const answer = await withVolume(session(), path, 'write', {}, (volume) => {
    setLabel(volume, 'changed')
    return 42
  })
  assert.equal(answer, 42)
  assert.equal(labelOf(path), 'changed')
  judge(path)
})

test('an error: what was committed before it stays, and the image is sound', async () => {
  const path = image('error')
  const failing = withVolume(session(), path, 'write', {}, (volume) => {
    setLabel(volume, 'one')
    withTransaction(volume, (tx) => {
      Superblock.fields.fname.set(tx.edit(volume.superblock(tx)), 0, 'two')
      throw new XfsError('NOSPC', 'no space')
    })
  })
  await assert.rejects(failing, code('NOSPC'))
  assert.equal(labelOf(path), 'one')
  judge(path)
})

test('a dry run writes nothing and reports what it would write', async () => {
  const path = image('dry')
  const before = readFileSync(path)
  const { out, said } = session()
  await withVolume({ out }, path, 'write', { dryRun: true }, (volume) => setLabel(volume, 'dry'))
  out.flush()
  assert.match(said.join(''), /^dry run: would write \d+ bytes in \d+ places?; nothing was written\n$/)
  assert.ok(readFileSync(path).equals(before))
})

test('--output: the image stays, the copy is sparse and changed; a failure leaves no copy', async () => {
  const path = image('original')
  const before = readFileSync(path)
  await withVolume(session(), path, 'write', { output: at('copy') }, (volume) => setLabel(volume, 'copy'))
  assert.equal(labelOf(at('copy')), 'copy')
  assert.ok(statSync(at('copy')).blocks * 512 < 32 * 2 ** 20)
  judge(at('copy'))
  const refused = withVolume(session(), path, 'write', { output: at('none') }, () => {
    throw new XfsError('INVAL', 'refused')
  })
  await assert.rejects(refused, code('INVAL'))
  assert.ok(!existsSync(at('none')))
  await assert.rejects(
    withVolume(session(), path, 'write', { output: path }, () => {}),
    CannotRun,
  )
  assert.ok(readFileSync(path).equals(before))
})

test('at an offset, nothing outside of the filesystem is touched', async () => {
  const edge = Buffer.alloc(2 ** 20, 0xee)
  writeFileSync(at('disk'), Buffer.concat([edge, readFileSync(fresh), edge]))
  await withVolume(session(), at('disk'), 'write', { offset: 2 ** 20 }, (volume) => setLabel(volume, 'inside'))
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
    withVolume(session(), path, 'write', {}, () => {}),
    code('BUSY'),
  )
  await withVolume(session(), path, 'read', {}, () => {})
  await withVolume(session(), path, 'write', { dryRun: true }, () => {})
  holder.close()
})

test('a dirty log and a mounted image: writers are refused, readers warned', { skip: skip.kernel }, async () => {
  const path = image('dirty')
  crashImage(path, (mounted) => mkdirSync(join(mounted, 'folder')))
  const before = readFileSync(path)
  await assert.rejects(
    withVolume(session(), path, 'write', {}, () => {}),
    code('DIRTYLOG'),
  )
  const { out, said } = session()
  await withVolume({ out }, path, 'read', {}, () => {})
  assert.match(said.join(''), /warning: .*the log is dirty/)
  assert.ok(readFileSync(path).equals(before))
  mountImage(path, () => {})
  await withVolume(session(), path, 'write', {}, () => {})
})

test('a filesystem with unknown features: writers and readers report their names', async () => {
  const path = image('unknown')
  const bytes = readFileSync(path)
  bytes.writeUInt32BE(bytes.readUInt32BE(212) | 0x80, 212) // features_ro_compat
  writeFileSync(path, bytes)
  const refused = (mode: 'read' | 'write', options: VolumeOptions = {}) =>
    withVolume(session(), path, mode, options, () => {})
  await assert.rejects(refused('write'), /features_ro_compat|checksum|CRC/i)
})

/** A process that changes the image until it is killed, one transaction per step. */
async function endless(path: string): Promise<ChildProcess> {
  const url = (module: string): string =>
    JSON.stringify(fileURLToPath(new URL(`../../src/${module}.js`, import.meta.url)))
  const script = `
    const { withVolume } = await import(${url('cli/image')})
    const { drive } = await import(${url('cli/progress')})
    const { Output } = await import(${url('cli/output')})
    const { withTransaction } = await import(${url('tx/transaction')})
    const { Superblock } = await import(${url('format/sb')})
    const out = new Output({ form: 'text' })
    function* change(volume) {
      for (let done = 0; ; done++) {
        withTransaction(volume, (tx) => Superblock.fields.fname.set(tx.edit(volume.superblock(tx)), 0, 'n' + (done % 1000)))
        volume.committer.sync()
        if (done === 3) console.log('running')
        yield { what: 'changing', done }
      }
    }
    try {
      await withVolume({ out }, process.argv[1], 'write', {}, (volume) => drive(change(volume)))
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

test('a killed writer leaves a marked image, and its lock does not block others', async () => {
  const path = image('killed')
  const child = await endless(path)
  child.kill('SIGKILL')
  await once(child, 'close')
  await assert.rejects(
    withVolume(session(), path, 'write', {}, () => {}),
    /NEEDSREPAIR|the log is dirty/,
  )
  const { out, said } = session()
  await withVolume({ out }, path, 'read', {}, () => {})
  assert.match(said.join(''), /warning: .*(NEEDSREPAIR|the log is dirty)/)
  openFile(path, 'rw').close()
})
