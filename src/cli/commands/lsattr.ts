import { resolve } from '../../file/path.ts'
import { flagsText } from '../../file/setattr.ts'
import { walkTree } from '../../file/tree.ts'
import { escapeBytes } from '../../util/escape.ts'
import { type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import type { Command } from '../command.ts'
import { withVolume } from '../image.ts'
import type { Row } from '../output.ts'
import { tryEachPath } from '../paths.ts'

const command: Command<ImageArguments & { image: string; paths: string[]; recursive?: boolean }> = {
  command: 'lsattr <image> <paths..>',
  describe: 'show flags, project and hints of files',
  examples: [['$0 lsattr -R disk.img /srv', 'letters as those of chattr']],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: 'files in the image' })
      .option('recursive', { alias: 'R', type: 'boolean', describe: 'what is below directories, too' }),
  handler: (args, { out }) =>
    withVolume({ out }, args.image, 'read', args, async (volume) => {
      const { blocksize } = volume.geometry
      const rows: Row[] = []
      const { status } = await tryEachPath({ out }, 'lsattr', args.paths, (start) => {
        const top = resolve(volume, imagePath(start), { follow: false })
        for (const { inode, path } of walkTree(top, { sorted: true, ...(args.recursive ? {} : { maxDepth: 0 }) })) {
          const below = escapeBytes(path)
          const shown = below === '' ? start : `${start.replace(/\/$/, '')}/${below}`
          const { projid, extsize, cowextsize } = inode
          rows.push({
            flags: flagsText(inode),
            projid,
            extsize: extsize * blocksize,
            cowextsize: cowextsize * blocksize,
            path: shown,
          })
        }
      })
      out.records(
        [
          { name: 'flags', left: true },
          { name: 'projid' },
          { name: 'extsize' },
          { name: 'cowextsize' },
          { name: 'path', left: true },
        ],
        rows,
      )
      return status
    }),
}
export default command
