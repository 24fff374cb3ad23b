import { withPaths } from '../../namespace/paths.ts'
import { type SpaceRecord, spaceMap } from '../../space/fsmap.ts'
import { escapeBytes } from '../../util/escape.ts'
import type { Volume } from '../../volume.ts'
import { type ImageArguments, imageOptions, optionalCount } from '../arguments.ts'
import type { Command } from '../command.ts'
import { withVolume } from '../image.ts'
import type { Row } from '../output.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly agno?: number
  readonly free?: boolean
  readonly paths?: boolean
}

const COLUMNS = [
  { name: 'agno' }, { name: 'agbno' }, { name: 'blocks' }, { name: 'owner', left: true }, { name: 'fork', left: true }, { name: 'offset' },
  { name: 'flags', left: true },
] as const // biome-ignore format: a table
const WITH_PATHS = [...COLUMNS, { name: 'path', left: true }] as const

function row({ agno, agbno, blockcount, owner, offset, fork, unwritten, shared }: SpaceRecord): Row {
  const inode = typeof owner === 'number'
  return {
    agno,
    agbno,
    blocks: blockcount,
    owner,
    fork: !inode ? undefined : offset === undefined ? `${fork} map` : fork,
    offset,
    flags: [unwritten ? 'unwritten' : '', shared ? 'shared' : ''].filter(Boolean).join(','),
  }
}

function* records(volume: Volume, { agno, free }: Arguments): Generator<SpaceRecord> {
  for (let group = agno ?? 0; group <= (agno ?? volume.geometry.agcount - 1); group++) {
    for (const record of spaceMap(volume, group)) if (!free || record.owner === 'free') yield record
  }
}

function* rows(volume: Volume, args: Arguments): Generator<Row> {
  if (args.paths !== true) {
    for (const record of records(volume, args)) yield row(record)
    return
  }
  const inoOf = ({ owner }: SpaceRecord) => (typeof owner === 'number' ? owner : undefined)
  for (const { item, path } of withPaths(volume, records(volume, args), inoOf))
    yield { ...row(item), path: path && escapeBytes(path) }
}

const command: Command<Arguments> = {
  command: 'fsmap <image>',
  describe: 'show the owner of every block',
  examples: [
    ['$0 fsmap disk.img', 'every extent: AG, first block, length in blocks, inode or kind of metadata'],
    ['$0 fsmap disk.img --paths', 'the same, with a path of each inode'],
    ['$0 fsmap disk.img --agno 0 --json', 'one AG, one JSON object per line'],
  ],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .option('agno', {
        type: 'string',
        coerce: optionalCount('--agno'),
        requiresArg: true,
        describe: 'one AG (default: all)',
      })
      .option('free', { type: 'boolean', describe: 'only free space' })
      .option('paths', { type: 'boolean', describe: 'also a path of each inode' }) as never,
  handler: (args, { out }) =>
    withVolume({ out }, args.image, 'read', args, (volume) =>
      out.records('fsmap', args.paths ? WITH_PATHS : COLUMNS, rows(volume, args)),
    ),
}
export default command
