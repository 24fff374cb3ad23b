import { XfsError } from '../../errors.ts'
import type { Inode } from '../../inode/inode.ts'
import { resolve } from '../../namespace/resolve.ts'
import { modeText, type Stat, statOf, timeText } from '../../namespace/stat.ts'
import { walkTree } from '../../namespace/tree.ts'
import { escapeBytes } from '../../util/escape.ts'
import type { Volume } from '../../volume.ts'
import { type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import { type Command, FAILED, OK } from '../command.ts'
import { humanBytes } from '../human.ts'
import { withVolume } from '../image.ts'
import type { Row } from '../output.ts'
import { failureText } from '../paths.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly paths?: string[]
  readonly long?: boolean
  readonly recursive?: boolean
  readonly inode?: boolean
  readonly directory?: boolean
  readonly unsorted?: boolean
  readonly human?: boolean
}

const LONG = [
  { name: 'mode', left: true }, { name: 'nlink' }, { name: 'uid' }, { name: 'gid' }, { name: 'size' }, { name: 'mtime', left: true },
  { name: 'path', left: true },
] as const // biome-ignore format: a table

const ls: Command<Arguments> = {
  command: 'ls <image> [paths..]',
  describe: 'list files',
  examples: [
    ['$0 ls disk.img', 'the root directory'],
    ['$0 ls -lR disk.img /etc', 'a tree with modes, owners, sizes and times'],
    ['$0 ls -R --json disk.img /', 'all metadata of each file, one JSON object per line'],
  ],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', { type: 'string', array: true, describe: 'files and directories in the image (default: /)' })
      .option('long', { alias: 'l', type: 'boolean', describe: 'mode, links, owner, size and time as well' })
      .option('recursive', { alias: 'R', type: 'boolean', describe: 'everything below directories, too' })
      .option('inode', { alias: 'i', type: 'boolean', describe: 'inode numbers as well' })
      .option('directory', { alias: 'd', type: 'boolean', describe: 'list directories themselves, not their contents' })
      .option('human', { alias: 'h', type: 'boolean', describe: 'sizes with k, M, G' })
      .option('unsorted', { alias: 'U', type: 'boolean', describe: 'list in directory order' }),
  handler: (args, { out }) =>
    withVolume({ out }, args.image, 'read', args, (volume) => {
      let status = OK
      const starts = args.paths?.length ? args.paths : ['/']
      const complain = (path: string, error: XfsError): void => {
        status = FAILED
        out.error(failureText('ls', path, error))
      }
      const rows = function* (): Generator<Row> {
        for (const start of starts) {
          try {
            const inode = listed(volume, imagePath(start), args.long === true || args.directory === true)
            const maxDepth = args.directory || !inode.isDirectory ? 0 : args.recursive ? undefined : 1
            const options = {
              sorted: args.unsorted !== true,
              ...(maxDepth === undefined ? {} : { maxDepth }),
              onError: (path: Uint8Array, error: XfsError) => complain(shown(start, path), error),
            }
            for (const visit of walkTree(inode, options)) {
              if (visit.depth === 0 && maxDepth !== 0) continue
              const path =
                visit.depth === 0 ? start : shown(args.recursive || starts.length > 1 ? start : '', visit.path)
              yield out.form !== 'text' || args.long
                ? {
                    ...(args.inode || out.json ? { ino: visit.inode.ino } : {}),
                    ...longRow(statOf(visit.inode), path, out.json, args.human === true && out.form === 'text'),
                  }
                : { ino: visit.inode.ino, path }
            }
          } catch (error) {
            if (!(error instanceof XfsError)) throw error
            complain(start, error)
          }
        }
      }
      if (args.long || out.form !== 'text') out.records(args.inode ? [{ name: 'ino' }, ...LONG] : LONG, rows())
      else for (const row of rows()) out.raw(args.inode ? `${row['ino']} ${row['path']}\n` : `${row['path']}\n`)
      return status
    }),
}
export default ls

/** As ls(1): a link to a directory is followed if it is an operand, but not with -l or -d. */
function listed(volume: Volume, path: Uint8Array, closely: boolean): Inode {
  const inode = resolve(volume, path, { follow: false })
  if (!inode.isSymlink || (closely && path.at(-1) !== 0x2f)) return inode
  try {
    return resolve(volume, path)
  } catch (error) {
    if (!(error instanceof XfsError) || error.code !== 'NOENT') throw error
    return inode
  }
}

const shown = (start: string, path: Uint8Array): string => {
  const below = escapeBytes(path)
  return start === '' ? below : start.endsWith('/') ? start + below : `${start}/${below}`
}

function longRow(stat: Stat, path: string, json: boolean, human: boolean): Row {
  const size = human && typeof stat.size === 'number' ? humanBytes(stat.size) : stat.size
  const target = stat.target && escapeBytes(stat.target)
  const row = {
    mode: modeText(stat), nlink: stat.nlink, uid: stat.uid, gid: stat.gid,
    size: stat.device ? `${stat.device.major}, ${stat.device.minor}` : size,
    mtime: timeText(stat.mtime), path: target === undefined || json ? path : `${path} -> ${target}`,
  } // biome-ignore format: a table
  return json ? { ...row, type: stat.type, target } : row
}
