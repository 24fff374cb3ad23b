import { escapeBytes } from '../../util/escape.ts'
import type { OwnedSpace } from '../../xfsimage/blocks.ts'
import { type ImageArguments, imageOptions, optionalCount } from '../arguments.ts'
import type { Command } from '../command.ts'
import { extentFlags, named } from '../json.ts'
import { withImage } from '../open.ts'
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

/** In text and CSV. */
function row(record: OwnedSpace): Row {
  const { agno, agbno, blockcount: blocks, owner, offset, path } = record
  const fork = typeof owner !== 'number' ? undefined : offset === undefined ? `${record.fork} map` : record.fork
  return { agno, agbno, blocks, owner, fork, offset, flags: extentFlags(record), path: path && escapeBytes(path) }
}

function jsonRow(record: OwnedSpace): Row {
  const { agno, agbno, blockcount: blocks, owner, offset, fork, path } = record
  const inode = typeof owner === 'number' && {
    ino: owner,
    fork,
    ...(offset === undefined ? { bmbt: true } : { offset }),
    ...(path && named('path', path)),
  }
  return { agno, agbno, blocks, owner: inode ? 'inode' : owner, ...inode, flags: extentFlags(record) }
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
    withImage({ out }, args.image, 'read', args, (image) => {
      const { agno, free, paths = false } = args
      const rows = function* (): Generator<Row> {
        for (const record of image.owners({ paths, ...(agno !== undefined && { agno }) }))
          if (!free || record.owner === 'free') yield out.json ? jsonRow(record) : row(record)
      }
      out.records('fsmap', paths ? WITH_PATHS : COLUMNS, rows())
    }),
}
export default command
