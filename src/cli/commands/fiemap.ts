import { type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import type { Command } from '../command.ts'
import { extentFlags } from '../json.ts'
import { withImage } from '../open.ts'
import type { Row } from '../output.ts'

const fiemap: Command<ImageArguments & { image: string; path: string; attr?: boolean }> = {
  command: 'fiemap <image> <path>',
  describe: "print a file's extents and which are shared",
  examples: [
    ['$0 fiemap disk.img /var/lib/db', 'one extent per line: offset, length and physical offset in bytes, and flags'],
    ['$0 fiemap disk.img /var/lib/db --json', 'one JSON object per line'],
  ],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('path', { type: 'string', demandOption: true, describe: 'a file in the image' })
      .option('attr', { alias: 'a', type: 'boolean', describe: 'the attribute fork' }),
  handler: (args, { out }) =>
    withImage({ out }, args.image, 'read', args, (image) => {
      const rows = function* (): Generator<Row> {
        for (const extent of image.extents(imagePath(args.path), { fork: args.attr ? 'attr' : 'data' })) {
          const { offset, length, physical } = extent
          yield { offset, length, physical, flags: extentFlags(extent) }
        }
      }
      out.records(
        'fiemap',
        [{ name: 'offset' }, { name: 'length' }, { name: 'physical' }, { name: 'flags', left: true }],
        rows(),
      )
    }),
}
export default fiemap
