import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { memoryDevice } from '../../src/device/memory.ts'
import { XfsError } from '../../src/errors.ts'
import { BASIC_BLOCK } from '../../src/format/geometry.ts'
import { LogFormats, LogOp, LogRecord, TransHeader } from '../../src/format/log.ts'
import { LogItemTypes, logItems } from '../../src/format/logitems.ts'
import { Volume } from '../../src/volume.ts'
import { type ItemEntry, LogFault, type LogPrintOptions, openLog } from '../../src/xfsimage/logprint.ts'
import { xfskit, xfskitOk } from '../support/cli.ts'
import { random } from '../support/random.ts'
import { tempDir } from '../support/temp.ts'
import { imageWith, items, itemsIn } from './items.ts'

/** The content of a log as values and as a timeline; damaged logs; the command line. */

const folder = tempDir()
const image = imageWith(join(folder, 'all'), [items])
const log = join(folder, 'log')
const quiet = { print: () => {}, warn: () => {}, program: 'xfs_logprint' }

test('every item is an entry with its type, regions and fields', async () => {
  const entries = await openLog(image, {}, (opened) => [...opened.entries()])
  assert.deepEqual(entries[0], {
    kind: 'record', cycle: 1, block: 2, tailCycle: 1, tailBlock: 2,
    length: entries[0]?.kind === 'record' && entries[0].length, operations: 3 + items.flatMap(({ regions }) => regions).length,
    byteOrder: 'little',
  }) // biome-ignore format: pairs
  const found = entries.filter((entry): entry is ItemEntry => entry.kind === 'item')
  assert.deepEqual(
    found.map(({ regions }) => regions),
    items.map(({ regions }) => regions.map(({ length }) => length)),
  )
  const types = new Set(found.map(({ type }) => type))
  assert.deepEqual([...types].sort(), Object.keys(logItems).sort())
  for (const { type, fields } of found) assert.equal(fields['type'], LogItemTypes[type as keyof typeof LogItemTypes])
  const named = (name: string): ItemEntry => found[items.findIndex((item) => item.name === name)] as ItemEntry
  assert.deepEqual(
    named('efi of 3').extents?.map((extent) => extent['len']),
    [1, 2, 3],
  )
  assert.deepEqual(
    named('efi of a 32-bit kernel').extents?.map((extent) => extent['len']),
    [1, 2],
  )
  assert.equal(named('cancelled buffer').cancelled, true)
  assert.equal(named('AGF').block, 'agf')
  assert.equal(named('local directory').core?.['mode'], 0o40755)
  assert.deepEqual(named('attri set').attribute, { name: 'user.name', value: 'a value' })
  assert.equal(named('attri replacing one').attribute?.['newName'], 'the name after')
})

test('the timeline has a line for each transaction and each item', async () => {
  const lines = await openLog(image, {}, (opened) => [...opened.timeline()])
  assert.equal(lines.length, 1 + items.length)
  assert.match(lines[0]?.text ?? '', /^1:2 {2}transaction 0x786b0000: \d+ items$/)
  const texts = lines.map(({ text }) => text)
  assert.ok(texts.includes('buffer 200+8  freed: earlier changes of it are void'))
  assert.ok(texts.some((text) => /^inode 131 {2}directory, 22 bytes, .*; content$/.test(text)))
  assert.ok(texts.some((text) => /^intent efi 0x[0-9a-f]+: free 3 extents \(/.test(text)))
  assert.ok(texts.some((text) => /^done rud: intent 0x[0-9a-f]+ is finished$/.test(text)))
})

test('the command line: a copy of the log, an external log, notes, exit status', () => {
  const text = xfskitOk(['logprint', '-t', '-i', image])
  const copied = xfskitOk(['logprint', '-C', log, image])
  assert.equal(copied.split('\n').length, 5)
  const place = /daddr: \d+ /
  const ofCopy = xfskitOk(['logprint', '-t', '-i', '-f', log])
  assert.equal(ofCopy.replace(place, ''), text.replace(place, ''))
  const external = xfskitOk(['logprint', '-t', '-i', '-l', log, image])
  assert.equal(external.split('\n').slice(4).join('\n'), text.split('\n').slice(4).join('\n'))
  assert.match(external, /\n {4}log file: ".*" daddr: 0 length: \d+\n/)
  assert.match(xfskit(['logprint', '-d', image]).stderr, /the log is dirty/)
  assert.equal(xfskitOk(['logprint', '--timeline', image]).split('\n').length, items.length + 2)
  assert.equal(xfskitOk(['logprint', '--json', image]).split('\n').length, items.length + 4)
  for (const words of [[], [image, image], ['-x', image], ['-h', image], [join(folder, 'none')], [log]])
    assert.equal(xfskit(['logprint', ...words]).status, 1, words.join(' '))
})

const views: readonly LogPrintOptions[] = [
  {},
  { keepGoing: true, data: true, overwritten: true },
  { noData: true, keepGoing: true },
  { onlyData: true },
  { view: 'blocks' },
  { view: 'transactions', start: 2, buffers: true, inodes: true, quota: true, data: true },
]

test('a damaged log ends the printing with its status, and nothing else', async () => {
  xfskitOk(['logprint', '-C', log, image])
  const bytes = readFileSync(log).subarray(0, 12288)
  const { int } = random(11)
  const statuses = new Map<number, number>()
  for (let round = 0; round < 150; round++) {
    const damaged = Uint8Array.from(bytes)
    for (let i = 0; i <= int(4); i++) {
      // Headers of records and operations more often than the data.
      const at = int(2) === 0 ? 512 * int(4) + int(48) : int(damaged.length)
      damaged.fill(int(3) === 0 ? int(256) : ([0, 0xff, 0x7f, 0x80][int(4)] as number), at, at + 1 + 3 * int(2))
    }
    const device = memoryDevice(damaged.length, damaged)
    await openLog(device, { logOnly: true }, (opened) => {
      for (const options of views) {
        const status = opened.print(quiet, options)
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
      }
      try {
        for (const { text } of opened.timeline()) assert.ok(text.length > 0)
      } catch (error) {
        if (!(error instanceof LogFault)) throw error
      }
    })
  }
  assert.ok((statuses.get(0) ?? 0) > 50 && (statuses.get(1) ?? 0) > 50, JSON.stringify([...statuses]))
})

test('an image that ends before its log', async () => {
  const short = readFileSync(image).subarray(0, 65536)
  await assert.rejects(
    openLog(memoryDevice(short.length, short), {}, () => {}),
    (error) => error instanceof XfsError,
  )
})

test('a log of a machine with the other byte order has the same text and values', async () => {
  const contents = (['little', 'big'] as const).map((order) => {
    const bytes = readFileSync(
      imageWith(join(folder, order), [
        // The tool compares these magic numbers in the byte order of the machine.
        itemsIn(order).filter(({ name }) => !name.startsWith('quota buffer as')),
      ]),
    )
    if (order === 'little') return bytes
    const { geometry } = Volume.open(memoryDevice(bytes.length, bytes))
    const record = geometry.fsbToDaddr(geometry.sb.logstart) * BASIC_BLOCK + 2 * BASIC_BLOCK
    bytes.writeUInt32BE(LogFormats.big, record + LogRecord.fields.fmt.offset)
    // The transaction header, which follows the operation that starts the transaction.
    const header = record + BASIC_BLOCK + 2 * LogOp.size
    bytes.subarray(header, header + TransHeader.size).swap32()
    return bytes
  })
  const said = await Promise.all(
    contents.map((bytes) =>
      openLog(memoryDevice(bytes.length, bytes), {}, (opened) => {
        const text: string[] = []
        const output = { ...quiet, print: (part: string) => text.push(part) }
        opened.print(output)
        opened.print(output, { view: 'transactions', buffers: true, inodes: true, quota: true })
        const values = [...opened.entries()].filter(({ kind }) => kind !== 'record')
        // Each image has its own UUID.
        return {
          values,
          lines: text
            .join('')
            .replaceAll(/^uuid: .*/gm, 'uuid')
            .split('\n'),
        }
      }),
    ),
  )
  assert.deepEqual(said[1], said[0])
})
