import { geometryReport } from '../../format/report.ts'
import { type ImageArguments, imageOptions } from '../arguments.ts'
import type { Command } from '../command.ts'
import { withVolume } from '../image.ts'

const info: Command<ImageArguments & { image: string }> = {
  command: 'info <image>',
  describe: 'print geometry and features, as xfs_info',
  examples: [['$0 info disk.img', 'what xfs_info prints']],
  builder: (yargs) =>
    imageOptions(yargs).positional('image', {
      type: 'string',
      demandOption: true,
      describe: 'image file or block device',
    }),
  handler: (args, session) =>
    withVolume(session, args.image, 'read', args, ({ geometry: { sb }, features }) =>
      session.out.document('info', { image: args.image, features: features.names, superblock: sb }, () =>
        geometryReport(sb, features, args.image),
      ),
    ),
}
export default info
