import { resolve } from '../../namespace/resolve.ts'
import { mappedRuns } from '../../reflink/sharing.ts'
import { unitStart } from '../../util/bytes.ts'
import { type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import type { Command } from '../command.ts'
import { withVolume } from '../image.ts'

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
    withVolume({ out }, args.image, 'read', args, (volume) => {
      const { blocksize, fsbToDaddr } = volume.geometry
      const inode = resolve(volume, imagePath(args.path))
      const rows = function* () {
        for (const run of mappedRuns(inode, args.attr ? 'attr' : 'data')) {
          yield {
            offset: unitStart(run.startoff, blocksize),
            length: run.blockcount * blocksize,
            physical: fsbToDaddr(run.startblock) * 512,
            flags: [run.unwritten ? 'unwritten' : '', run.shared ? 'shared' : ''].filter(Boolean).join(','),
          }
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
