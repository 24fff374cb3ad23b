import type { XfsError } from '../../errors.ts'
import { escapeBytes } from '../../util/escape.ts'
import type { Walked } from '../../xfsimage/reading.ts'
import { type ImageArguments, imageOptions, imagePath, optionalCount } from '../arguments.ts'
import { type Command, FAILED, OK } from '../command.ts'
import { absolute, named } from '../json.ts'
import { withImage } from '../open.ts'
import type { Row } from '../output.ts'
import { reportFailure } from '../paths.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly path?: string
  readonly depth?: number
  readonly size?: boolean
}

const command: Command<Arguments> = {
  command: 'tree <image> [path]',
  describe: 'print a directory tree',
  examples: [['$0 tree --depth 2 disk.img /etc', '']],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('path', { type: 'string', describe: 'a directory in the image (default: /)' })
      .option('depth', {
        alias: 'L',
        type: 'string',
        requiresArg: true,
        coerce: optionalCount('--depth'),
        describe: 'maximum depth',
      })
      .option('size', { alias: 's', type: 'boolean', describe: 'print sizes' }),
  handler: (args, { out }) =>
    withImage({ out }, args.image, 'read', args, (image) => {
      const start = args.path ?? '/'
      let status = OK
      const onError = (path: Uint8Array, error: XfsError): void => {
        status = FAILED
        reportFailure(out, 'tree', escapeBytes(path), error)
      }
      const options = { follow: true, sorted: true, onError, ...(args.depth !== undefined && { maxDepth: args.depth }) }
      const files = image.walk(imagePath(start), options)
      if (out.form === 'text') for (const line of lines(files, start, args.size === true)) out.raw(`${line}\n`)
      else out.records('tree', COLUMNS, rows(files, imagePath(start)))
      return status
    }),
}
export default command

const COLUMNS = [{ name: 'depth' }, { name: 'ino' }, { name: 'type' }, { name: 'size' }, { name: 'path' }] as const

function* lines(files: Iterable<Walked>, start: string, sizes: boolean): Generator<string> {
  const bars: string[] = []
  for (const file of files) {
    const { path, depth, last } = file
    const { xfs: stat } = file.stat()
    const name = depth === 0 ? start : escapeBytes(path.subarray(path.lastIndexOf(0x2f) + 1))
    const target = stat.target ? ` -> ${escapeBytes(stat.target)}` : ''
    const size = sizes && stat.type === 'regular file' ? `  ${stat.size}` : ''
    const branch = depth === 0 ? '' : `${bars.slice(0, depth - 1).join('')}${last ? '└── ' : '├── '}`
    if (depth > 0) bars[depth - 1] = last ? '    ' : '│   '
    yield `${branch}${name}${target}${size}`
  }
}

function* rows(files: Iterable<Walked>, start: Uint8Array): Generator<Row> {
  for (const file of files) {
    const { ino, type, size, target } = file.stat().xfs
    const path = named('path', absolute(start, file.path))
    yield { depth: file.depth, ino, type, size, ...path, ...(target && named('target', target)) }
  }
}
