import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Output, type OutputForm } from '../../src/cli/output.ts'
import { progressLine, runningLine } from '../../src/cli/progress.ts'
import { agno, pad, u32, u64, uuid } from '../../src/format/fields.ts'
import { struct } from '../../src/format/struct.ts'
import { recordsOf } from '../support/cli.ts'

function written(form: OutputForm, write: (out: Output) => void | Promise<void>): string {
  let text = ''
  const out = new Output({
    form,
    sink: (part) => {
      text += part
    },
    errorSink: () => {},
  })
  void write(out)
  out.flush()
  return text
}

const columns = [{ name: 'name', left: true }, { name: 'blocks' }] as const
const rows = [
  { name: 'größe', blocks: 7 },
  { name: 'a\nb', blocks: 12345 },
  { name: 'x,"y"', blocks: undefined },
]

test('records: text, JSON and CSV', () => {
  assert.equal(
    written('text', (out) => out.records('sample', columns, rows)),
    'name    blocks\ngröße        7\na\\x0ab   12345\nx,"y"        -\n',
  )
  assert.equal(
    written('json', (out) => out.records('sample', columns, rows)),
    '{"schema":"xfskit.sample","version":1}\n{"name":"größe","blocks":7}\n{"name":"a\\nb","blocks":12345}\n{"name":"x,\\"y\\""}\n',
  )
  assert.equal(
    written('csv', (out) => out.records('sample', columns, rows)),
    'name,blocks\r\ngröße,7\r\na\\x0ab,12345\r\n"x,""y""",\r\n',
  )
})

test('what would act on a terminal or in a spreadsheet is shown, in every form', () => {
  const name = '\u001b[31m\u009b\u061c\u200b\u202e\u2066\ufeff\u{e0041}\u007f'
  for (const form of ['text', 'json', 'csv'] as const) {
    const text = written(form, (out) => {
      out.raw(`${name}\n`)
      out.line(name)
      out.records('sample', columns, [{ name, blocks: 1 }])
      out.document('sample', { name }, () => name)
    })
    assert.doesNotMatch(text.replace(/\r?\n/g, ''), /[\p{Cc}\p{Cf}]/u, form)
  }
  assert.deepEqual(recordsOf(written('json', (out) => out.records('sample', columns, [{ name, blocks: 1 }])))[0], {
    name,
    blocks: 1,
  })
  const told: string[] = []
  new Output({ form: 'text', errorSink: (text) => void told.push(text) }).error(`${name}\n`)
  assert.doesNotMatch(told.join('').slice(0, -1), /[\p{Cc}\p{Cf}]/u)
  const cells = ['=1+1', '+1', '-1+1', '@A1', '-rw-r--r--', '-', 'a=1'].map((cell) => ({ name: cell, blocks: -1 }))
  assert.equal(
    written('csv', (out) => out.records('sample', columns, cells)),
    "name,blocks\r\n'=1+1,-1\r\n'+1,-1\r\n'-1+1,-1\r\n'@A1,-1\r\n-rw-r--r--,-1\r\n-,-1\r\na=1,-1\r\n",
  )
})

test('a long stream is aligned by its first rows and read lazily', () => {
  const many = function* () {
    for (let i = 0; i < 1000; i++) yield { name: 'n', blocks: i }
  }
  const lines = written('text', (out) => out.records('sample', columns, many()))
    .trimEnd()
    .split('\n')
  assert.equal(lines.length, 1001)
  assert.equal(lines.at(-1), 'n        999')
})

test('a structure and a document', () => {
  const Sample = struct('sample', 32, 'test', {
    seqno: agno(0, 'group'), count: u32(4, 'count'), pad: pad(8, 4), more: u32(12, 'x'), id: uuid(16, 'id'),
  }) // biome-ignore format: one line
  const view = new DataView(new ArrayBuffer(32))
  view.setUint32(0, 0xffffffff)
  view.setUint32(4, 9)
  const text = 'seqno = null\ncount = 9\nmore = 0\nid = 00000000-0000-0000-0000-000000000000\n'
  assert.equal(
    written('text', (out) => out.struct(Sample, view)),
    text,
  )
  assert.deepEqual(JSON.parse(written('json', (out) => out.struct(Sample, view))), {
    schema: 'xfskit.sample', version: 1, seqno: 4294967295, count: 9, more: 0, id: '00000000-0000-0000-0000-000000000000',
  }) // biome-ignore format: one line
  const Wide = struct('wide', 8, 'test', { value: u64(0, 'x') })
  const wide = new DataView(new ArrayBuffer(8))
  wide.setBigUint64(0, 2n ** 60n + 1n)
  assert.equal(JSON.parse(written('json', (out) => out.struct(Wide, wide))).value, String(2n ** 60n + 1n))
})

test('lines are for people only', () => {
  assert.equal(
    written('text', (out) => out.line('hello')),
    'hello\n',
  )
  assert.equal(
    written('json', (out) => out.line('hello')),
    '',
  )
})

test('a small table', async () => {
  let text = ''
  const out = new Output({
    form: 'text',
    sink: (part) => {
      text += part
    },
  })
  await out.table('sums', ['name', 'blocks'], rows)
  out.flush()
  assert.match(text, /│ größe +│ 7 +│/)
  assert.ok(!text.includes('\x1b'))
})

test('a reader that goes away ends the output quietly', async () => {
  const output = fileURLToPath(new URL('../../src/cli/output.js', import.meta.url))
  const script = `
    const { Output } = await import(${JSON.stringify(output)})
    const out = new Output({ form: 'json' })
    let made = 0
    const rows = function* () { for (let i = 0; i < 1e7; i++) { made++; yield { i } } }
    out.records('sample', [{ name: 'i' }], rows())
    out.flush()
    process.stderr.write(String(made < 1e7))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  child.stderr.on('data', (part) => {
    said += part
  })
  await once(child.stdout, 'data')
  child.stdout.destroy()
  const [status] = await once(child, 'close')
  assert.deepEqual([status, said], [0, 'true'])
})

test('the progress bar', () => {
  assert.equal(progressLine('checking', 0.5, 10), `checking  ${'█'.repeat(15)}${'░'.repeat(15)}  50 %  10 s left`)
  assert.equal(progressLine('checking', 0, 1), `checking  ${'░'.repeat(30)}  0 %`)
  assert.equal(progressLine('checking', 7, 1), `checking  ${'█'.repeat(30)}  100 %  0 s left`)
  assert.equal(runningLine('copying', 12, 0), `copying  ${'█'.repeat(6)}${'░'.repeat(24)}  12`)
  assert.equal(runningLine('copying', 12, 2.4), `copying  ${'░'.repeat(24)}${'█'.repeat(6)}  12`)
  assert.equal(runningLine('copying', 12, 4), `copying  ${'░'.repeat(8)}${'█'.repeat(6)}${'░'.repeat(16)}  12`)
})
