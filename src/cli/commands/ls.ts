import { XfsError } from '../../errors.ts'
import { escapeBytes } from '../../util/escape.ts'
import type { XfsFile } from '../../xfsimage/file.ts'
import type { Walked } from '../../xfsimage/reading.ts'
import { modeText, timeText } from '../../xfsimage/stats.ts'
import type { XfsImage } from '../../xfsimage/xfsimage.ts'
import { type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import { type Command, FAILED, OK } from '../command.ts'
import { humanBytes } from '../human.ts'
import { absolute, named, statFields } from '../json.ts'
import { withImage } from '../open.ts'
import type { Row } from '../output.ts'
import { reportFailure } from '../paths.ts'

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
    withImage({ out }, args.image, 'read', args, (image) => {
      let status = OK
      const starts = args.paths?.length ? args.paths : ['/']
      const complain = (path: string, error: XfsError): void => {
        status = FAILED
        reportFailure(out, 'ls', path, error)
      }
      const listed = function* (): Generator<Listed> {
        for (const start of starts) {
          try {
            const file = followed(image, imagePath(start), args.long === true || args.directory === true)
            const entered = args.directory !== true && image.lstat(file).isDirectory()
            const options = {
              sorted: args.unsorted !== true,
              ...(entered ? !args.recursive && { maxDepth: 1 } : { maxDepth: 0 }),
              onError: (path: Uint8Array, error: XfsError) => complain(shown(start, path), error),
            }
            const prefix = args.recursive || starts.length > 1 ? start : ''
            for (const found of image.walk(file, options)) {
              if (found.depth === 0 && entered) continue
              yield { file: found, start, path: found.depth === 0 ? start : shown(prefix, found.path) }
            }
          } catch (error) {
            if (!(error instanceof XfsError)) throw error
            complain(start, error)
          }
        }
      }
      const columns = args.inode ? [{ name: 'ino' }, ...LONG] : LONG
      if (out.json) out.records('ls', columns, jsonRows(listed()))
      else if (args.long || out.form !== 'text')
        out.records('ls', columns, longRows(listed(), args.human === true && out.form === 'text'))
      else for (const { file, path } of listed()) out.raw(args.inode ? `${file.ino} ${path}\n` : `${path}\n`)
      return status
    }),
}
export default ls

interface Listed {
  readonly file: Walked
  readonly start: string
  /** As text shows it. */
  readonly path: string
}

/** As ls(1): a link to a directory is followed if it is an operand, but not with -l or -d. */
function followed(image: XfsImage, path: Uint8Array, closely: boolean): XfsFile {
  const file = image.file(path, { follow: false })
  if (!image.lstat(file).isSymbolicLink() || (closely && path.at(-1) !== 0x2f)) return file
  try {
    return image.file(path)
  } catch (error) {
    if (!(error instanceof XfsError) || error.code !== 'NOENT') throw error
    return file
  }
}

const shown = (start: string, path: Uint8Array): string => {
  const below = escapeBytes(path)
  return start === '' ? below : start.endsWith('/') ? start + below : `${start}/${below}`
}

function* jsonRows(listed: Iterable<Listed>): Generator<Row> {
  for (const { file, start } of listed)
    yield { ...named('path', absolute(imagePath(start), file.path)), ...statFields(file.stat()) }
}

function* longRows(listed: Iterable<Listed>, human: boolean): Generator<Row> {
  for (const { file, path } of listed) {
    const { xfs: stat } = file.stat()
    const size = human && typeof stat.size === 'number' ? humanBytes(stat.size) : stat.size
    yield {
      ino: stat.ino,
      mode: modeText(stat),
      nlink: stat.nlink,
      uid: stat.uid,
      gid: stat.gid,
      size: stat.device ? `${stat.device.major}, ${stat.device.minor}` : size,
      mtime: timeText(stat.mtime),
      path: stat.target ? `${path} -> ${escapeBytes(stat.target)}` : path,
    }
  }
}
