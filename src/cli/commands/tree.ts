import type { XfsError } from '../../errors.ts'
import { resolve } from '../../namespace/resolve.ts'
import { typeName } from '../../namespace/stat.ts'
import { walkTree } from '../../namespace/tree.ts'
import { readSymlink } from '../../symlink.ts'
import { escapeBytes } from '../../util/escape.ts'
import { type ImageArguments, imageOptions, imagePath, optionalCount } from '../arguments.ts'
import { type Command, FAILED, OK } from '../command.ts'
import { withVolume } from '../image.ts'
import type { Row } from '../output.ts'

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
    withVolume({ out }, args.image, 'read', args, (volume) => {
      const start = args.path ?? '/'
      let status = OK
      const onError = (path: Uint8Array, error: XfsError): void => {
        status = FAILED
        out.error(`xfskit tree: ${escapeBytes(path)}: ${error.message}\n`)
      }
      const options = { sorted: true, onError, ...(args.depth === undefined ? {} : { maxDepth: args.depth }) }
      const bars: string[] = []
      const rows = function* (): Generator<Row & { line: string }> {
        for (const { path, depth, inode, last } of walkTree(resolve(volume, imagePath(start)), options)) {
          const name = depth === 0 ? start : escapeBytes(path.subarray(path.lastIndexOf(0x2f) + 1))
          const target = inode.isSymlink ? ` -> ${escapeBytes(readSymlink(inode))}` : ''
          const size = args.size && inode.isRegular ? `  ${inode.size}` : ''
          const branch = depth === 0 ? '' : `${bars.slice(0, depth - 1).join('')}${last ? '└── ' : '├── '}`
          if (depth > 0) bars[depth - 1] = last ? '    ' : '│   '
          const row = { depth, ino: inode.ino, type: typeName(inode.type), size: inode.size, path: escapeBytes(path) }
          yield { ...row, line: `${branch}${name}${target}${size}` }
        }
      }
      if (out.form === 'text') for (const { line } of rows()) out.raw(`${line}\n`)
      else
        out.records(
          [{ name: 'depth' }, { name: 'ino' }, { name: 'type' }, { name: 'size' }, { name: 'path' }],
          withoutLines(rows()),
        )
      return status
    }),
}
export default command

function* withoutLines(rows: Iterable<Row & { line: string }>): Generator<Row> {
  for (const { line: _, ...row } of rows) yield row
}
