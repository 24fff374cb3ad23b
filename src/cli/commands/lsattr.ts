import { flagsText } from '../../attr/setattr.ts'
import { XfsError } from '../../errors.ts'
import { resolve } from '../../namespace/resolve.ts'
import { walkTree } from '../../namespace/tree.ts'
import { type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import { type Command, FAILED, OK } from '../command.ts'
import { withVolume } from '../image.ts'
import type { Row } from '../output.ts'
import { pathBelow, reportFailure } from '../paths.ts'

const command: Command<ImageArguments & { image: string; paths: string[]; recursive?: boolean }> = {
  command: 'lsattr <image> <paths..>',
  describe: 'show inode flags, project ID and extent size hints',
  examples: [['$0 lsattr -R disk.img /srv', 'the letters are those of chattr']],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: 'files in the image' })
      .option('recursive', { alias: 'R', type: 'boolean', describe: 'everything below directories, too' }),
  handler: (args, { out }) =>
    withVolume({ out }, args.image, 'read', args, (volume) => {
      const { blocksize } = volume.geometry
      let status = OK
      const complain = (path: string, error: XfsError): void => {
        status = FAILED
        reportFailure(out, 'lsattr', path, error)
      }
      const rows = function* (): Generator<Row> {
        for (const start of args.paths) {
          try {
            const top = resolve(volume, imagePath(start), { follow: false })
            for (const { inode, path } of walkTree(top, {
              sorted: true,
              ...(args.recursive ? {} : { maxDepth: 0 }),
              onError: (below, error) => complain(pathBelow(start, below), error),
            })) {
              const { projid, extsize, cowextsize } = inode
              yield {
                flags: flagsText(inode),
                projid,
                extsize: extsize * blocksize,
                cowextsize: cowextsize * blocksize,
                path: pathBelow(start, path),
              }
            }
          } catch (error) {
            if (!(error instanceof XfsError)) throw error
            complain(start, error)
          }
        }
      }
      out.records(
        'lsattr',
        [
          { name: 'flags', left: true },
          { name: 'projid' },
          { name: 'extsize' },
          { name: 'cowextsize' },
          { name: 'path', left: true },
        ],
        rows(),
      )
      return status
    }),
}
export default command
