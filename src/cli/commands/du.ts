import type { XfsError } from '../../errors.ts'
import type { SpaceUsage } from '../../xfsimage/blocks.ts'
import { type ImageArguments, imageOptions, imagePath, optionalCount } from '../arguments.ts'
import { type Command, FAILED, OK } from '../command.ts'
import { humanBytes } from '../human.ts'
import { absolute, named } from '../json.ts'
import { withImage } from '../open.ts'
import type { Row } from '../output.ts'
import { pathBelow, reportFailure, tryEachPath } from '../paths.ts'
import { withProgress } from '../progress.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly paths?: string[]
  readonly depth?: number
  readonly human?: boolean
}

const COLUMNS = [
  { name: 'referenced' }, { name: 'shared' }, { name: 'exclusive' }, { name: 'total' }, { name: 'freed' }, { name: 'inodes' }, { name: 'path', left: true },
] as const // biome-ignore format: a table

const command: Command<Arguments> = {
  command: 'du <image> [paths..]',
  describe: 'show the space of files and trees: referenced, shared, exclusive, and freed if removed',
  examples: [
    ['$0 du disk.img /var', 'bytes; freed: blocks without owners outside of the tree'],
    ['$0 du -H --depth 1 disk.img /', 'each directory at the top, with k, M, G'],
  ],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', { type: 'string', array: true, describe: 'files and directories in the image (default: /)' })
      .option('depth', {
        alias: 'd',
        type: 'string',
        requiresArg: true,
        coerce: optionalCount('--depth'),
        describe: 'also list directories up to this depth',
      })
      .option('human', { alias: ['h', 'H'], type: 'boolean', describe: 'print sizes with k, M, G' }) as never,
  handler: (args, { out }) =>
    withImage({ out }, args.image, 'read', args, async (image) => {
      let status = OK
      const rows: Row[] = []
      const tried = await tryEachPath({ out }, 'du', args.paths?.length ? args.paths : ['/'], async (path) => {
        const start = imagePath(path)
        // Measuring the start itself reports everything below it that cannot be read.
        const options = { sorted: true, maxDepth: args.depth ?? 0, onError: () => {} }
        for (const file of image.walk(start, options)) {
          if (file.depth > 0 && !file.isDirectory) continue
          const shown = pathBelow(path, file.path)
          const onError = (below: Uint8Array, error: XfsError): void => {
            status = FAILED
            if (file.depth === 0) reportFailure(out, 'du', pathBelow(shown, below), error)
          }
          const usage = await withProgress((long) => image.usage(file, { ...long, onError }))
          if (out.json) rows.push({ ...named('path', absolute(start, file.path)), ...usage })
          else rows.push({ ...(args.human && out.form === 'text' ? humanUsage(usage) : usage), path: shown })
        }
      })
      out.records('du', COLUMNS, rows)
      return Math.max(status, tried.status)
    }),
}
export default command

const humanUsage = ({ inodes, size: _, ...bytes }: SpaceUsage): Row => ({
  inodes,
  ...Object.fromEntries(Object.entries(bytes).map(([name, value]) => [name, humanBytes(Number(value))])),
})
