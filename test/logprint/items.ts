import { createFile } from '../../src/device/file.ts'
import { AGF_MAGIC, AGI_MAGIC, Agf, Agi } from '../../src/format/ag.ts'
import { DiskDquot, DQUOT_MAGIC } from '../../src/format/dquot.ts'
import type { ByteOrder, HostStruct } from '../../src/format/hostorder.ts'
import {
  AttriLogFormat,
  AttriLogFormatReplace,
  BufLogFormat,
  DquotLogFormat,
  Extent32,
  IcreateLog,
  InodeLogFormat,
  LogDinode,
  LogItemTypes,
  logItems,
  QuotaoffLogFormat,
  XmiLogFormat,
} from '../../src/format/logitems.ts'
import type { Struct } from '../../src/format/struct.ts'
import { LogWriter } from '../../src/log/records.ts'
import { logState } from '../../src/log/ring.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { viewOf } from '../../src/util/view.ts'
import { Volume } from '../../src/volume.ts'

/** Items of every type for a log, with values that differ in every field. */
export interface MadeItem {
  readonly name: string
  readonly regions: readonly Uint8Array[]
}

/** A structure with small numbers in all fields, and `fields`. */
function made(structure: Struct, fields: Readonly<Record<string, unknown>>, size = structure.size): Uint8Array {
  const bytes = Uint8Array.from({ length: structure.size }, (_, i) => (i % 8 === 0 ? (i % 120) + 1 : 0))
  for (const [name, value] of Object.entries(fields)) {
    const field = structure.list.find((one) => one.name === name)
    if (!field) throw new Error(`${structure.name} has no ${name}`)
    field.set(viewOf(bytes), 0, value)
  }
  return bytes.slice(0, size)
}

const joined = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts))
const text = (value: string): Uint8Array => new Uint8Array(Buffer.from(value))
const id = (lo: number) => ({ hi: 0xfffffff1, lo })

/** Fields of 64 bits that are also shown as smaller ones are the same in both byte orders. */
const half = { hi: 1700000000, lo: 1700000000 }
const times = { atime: half, mtime: half, ctime: half, big_nextents: 0 }

/** The items as a machine of this byte order writes them. */
export function itemsIn(order: ByteOrder): readonly MadeItem[] {
  const hosted = (
    { little, big }: HostStruct,
    fields: Readonly<Record<string, unknown>>,
    size = little.size,
  ): Uint8Array => {
    const bytes = made(little, fields)
    if (order === 'little') return bytes.slice(0, size)
    const turned = bytes.slice()
    for (const [i, field] of little.list.entries())
      if (field.kind !== 'pad') big.list[i]?.set(viewOf(turned), 0, field.get(viewOf(bytes), 0))
    return turned.slice(0, size)
  }
  const buffer = (blkno: number, data: readonly Uint8Array[], flags = 0x5800): Uint8Array[] => [
    hosted(
      BufLogFormat,
      { type: LogItemTypes.buf, size: data.length + 1, flags, len: 8, blkno, map_size: 1 },
      BufLogFormat.big.fields.data_map.offset + 4,
    ),
    ...data,
  ]

  const inode = (fields: number, forks: readonly Uint8Array[], core: Readonly<Record<string, unknown>> = {}) => [
    hosted(InodeLogFormat, { type: LogItemTypes.inode, size: forks.length + 2, fields, ino: 131, blkno: 128 }),
    hosted(LogDinode, { magic: 0x494e, version: 3, mode: 0o100644, ...times, ...core }),
    ...forks,
  ]

  const data = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 37 + 11) % 256)

  /** An intent with `count` extents, in the given form. */
  const intent = (
    name: 'efi' | 'efiRt' | 'rui' | 'ruiRt' | 'cui' | 'cuiRt' | 'bui' | 'efd' | 'efdRt',
    count: number,
  ) => {
    const row = logItems[name]
    if (!row?.extent) throw new Error(name)
    const extents = Array.from({ length: count }, (_, i) => hosted(row.extent as HostStruct, { len: i + 1 }))
    const key = name.startsWith('efd') ? 'intent_id' : 'id'
    return [joined(hosted(row.format, { type: row.type, size: 1, nextents: count, [key]: id(count) }), ...extents)]
  }

  const done = (name: 'rud' | 'rudRt' | 'cud' | 'cudRt' | 'bud' | 'xmd' | 'attrd') => {
    const row = logItems[name]
    if (!row) throw new Error(name)
    return [hosted(row.format, { type: row.type, size: 1, intent_id: id(7) })]
  }

  const attribute = (op_flags: number, filter: number, parts: readonly Uint8Array[], value: number): Uint8Array[] => {
    const common = { type: LogItemTypes.attri, size: parts.length + 1, op_flags, ino: 131, id: id(9) }
    const sizes = { attr_filter: filter, value_len: value }
    const head =
      op_flags === 6
        ? hosted(AttriLogFormatReplace, {
          ...common, ...sizes, old_name_len: parts[0]?.length, new_name_len: parts[1]?.length,
        }) // biome-ignore format: a part a line
        : hosted(AttriLogFormat, { ...common, ...sizes, name_len: parts[0]?.length })
    return [head, ...parts]
  }

  /** The value of a parent pointer. */
  const parent = joined(new Uint8Array(7), Uint8Array.of(133, 0x12, 0x34, 0x56, 0x78))

  return [
    { name: 'buffer', regions: buffer(120, [data(128), data(384)]) },
    { name: 'superblock', regions: buffer(0, [data(384)], 0x9000) },
    { name: 'AGF', regions: buffer(1, [made(Agf, { magicnum: AGF_MAGIC }, 128)], 0x2800) },
    { name: 'AGI of 128 bytes', regions: buffer(2, [made(Agi, { magicnum: AGI_MAGIC }, 128)], 0x3800) },
    { name: 'AGI of 256 bytes', regions: buffer(2, [made(Agi, { magicnum: AGI_MAGIC }, 256)], 0x3800) },
    { name: 'AGI', regions: buffer(2, [joined(made(Agi, { magicnum: AGI_MAGIC }), new Uint8Array(40))], 0x3800) },
    { name: 'quota buffer', regions: buffer(96, [joined(made(DiskDquot, { magic: DQUOT_MAGIC }), data(32))], 0x800) },
    {
      name: 'quota buffer as the tool knows it in the view of records',
      regions: buffer(96, [joined(Uint8Array.of(0, 0, 0x44, 0x51), data(124))], 0x800),
    },
    {
      name: 'quota buffer as the tool knows it in the view of transactions',
      regions: buffer(96, [joined(Uint8Array.of(0x51, 0x44, 0, 0), data(124))], 0x800),
    },
    { name: 'cancelled buffer', regions: buffer(200, [], 0x5802) },
    { name: 'inode core', regions: inode(0x1, []) },
    { name: 'inode of a device', regions: inode(0x11, []) },
    { name: 'inode with extents', regions: inode(0x5, [data(32)]) },
    { name: 'inode with a btree', regions: inode(0x9, [data(24)]) },
    { name: 'local directory', regions: inode(0x3, [data(24)], { mode: 0o40755, fsize: 22 }) },
    { name: 'attributes', regions: inode(0x45, [data(16), data(40)], { mode: 0o40755 }) },
    { name: 'attribute extents', regions: inode(0x81, [data(16)]) },
    { name: 'attribute btree', regions: inode(0x105, [data(16), data(24)]) },
    {
      name: 'large counters',
      regions: inode(0x1, [], { flags2: { hi: 0, lo: 0x18 }, big_nextents: 7 * 2 ** 48 + 7, nextents: 77 }),
    },
    { name: 'icreate', regions: [hosted(IcreateLog, { type: LogItemTypes.icreate, size: 1 })] },
    {
      name: 'dquot',
      regions: [
        hosted(DquotLogFormat, { type: LogItemTypes.dquot, size: 2, id: 4000000000, blkno: 96, len: 1 }),
        made(DiskDquot, { magic: DQUOT_MAGIC, type: 1, bcount: 5e9 }),
      ],
    },
    ...[0x01, 0x08, 0x40].map((flags) => ({
      name: `quotaoff ${flags}`,
      regions: [hosted(QuotaoffLogFormat, { type: LogItemTypes.quotaoff, size: 1, flags })],
    })),
    ...([0, 1, 3, 4, 5] as const).map((count) => ({ name: `efi of ${count}`, regions: intent('efi', count) })),
    {
      name: 'efi of a 32-bit kernel',
      regions: [
        joined(
          (intent('efi', 2)[0] as Uint8Array).subarray(0, 16),
          hosted(Extent32, { len: 1 }),
          hosted(Extent32, { len: 2 }),
        ),
      ],
    },
    { name: 'efiRt', regions: intent('efiRt', 2) },
    { name: 'efd', regions: intent('efd', 2) },
    { name: 'efdRt', regions: intent('efdRt', 1) },
    { name: 'rui', regions: intent('rui', 3) },
    { name: 'ruiRt', regions: intent('ruiRt', 1) },
    { name: 'cui', regions: intent('cui', 2) },
    { name: 'cuiRt', regions: intent('cuiRt', 1) },
    { name: 'bui', regions: intent('bui', 1) },
    ...(['rud', 'rudRt', 'cud', 'cudRt', 'bud', 'xmd', 'attrd'] as const).map((name) => ({
      name,
      regions: done(name),
    })),
    { name: 'xmi', regions: [hosted(XmiLogFormat, { type: LogItemTypes.xmi, size: 1, blockcount: 12 })] },
    { name: 'attri set', regions: attribute(1, 2, [text('user.name'), text('a value')], 7) },
    { name: 'attri set, bytes', regions: attribute(1, 0, [text('bin'), data(300)], 300) },
    { name: 'attri remove', regions: attribute(2, 0, [text('name')], 0) },
    { name: 'attri of a parent pointer', regions: attribute(4, 8, [text('file-ä'), parent], 12) },
    { name: 'attri removing one', regions: attribute(5, 8, [text('file'), parent], 12) },
    {
      name: 'attri replacing one',
      regions: attribute(6, 8, [text('before'), text('the name after'), parent, parent], 12),
    },
  ]
}

export const items = itemsIn('little')

/** An image whose log has these transactions, each with items. */
export function imageWith(image: string, transactions: readonly (readonly MadeItem[])[]): string {
  const device = createFile(image, 16 * 2 ** 20)
  mkfs(device, { agcount: 1, blocksize: 1024 })
  const { geometry, features } = Volume.open(device)
  const writer = new LogWriter(device, geometry, logState({ device, geometry, features }))
  for (const made of transactions)
    writer.transaction(
      made.length,
      made.flatMap(({ regions }) => regions),
    )
  device.close()
  return image
}
