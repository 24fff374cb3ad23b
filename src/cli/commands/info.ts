import { geometryReport, type ReportedFeatures, type ReportedGeometry } from '../../format/report.ts'
import { XfsImage } from '../../xfsimage/xfsimage.ts'
import { hostPath, type ImageArguments, imageOptions } from '../arguments.ts'
import type { Command } from '../command.ts'
import { named } from '../json.ts'
import { withImage } from '../open.ts'

const info: Command<ImageArguments & { image: string }> = {
  command: 'info <image>',
  describe: 'print geometry and features, as xfs_info',
  examples: [
    ['$0 info disk.img', 'the output of xfs_info'],
    ['$0 info /srv', 'a mounted filesystem, as the kernel reports it'],
  ],
  builder: (yargs) =>
    imageOptions(yargs).positional('image', {
      type: 'string',
      demandOption: true,
      describe: 'image file, block device or mount point',
    }),
  handler: (args, session) => {
    const { out } = session
    const elsewhere = args.offset !== undefined || args.partition !== undefined
    const mounted = elsewhere ? undefined : XfsImage.mounted({ path: hostPath(args.image) })
    const image = mounted?.source ?? args.image
    const print = (from: 'kernel' | 'image', features: ReportedFeatures, superblock: ReportedGeometry): void => {
      const name = named('image', Buffer.from(mounted?.source ?? (hostPath(args.image) as string)))
      out.document('info', { ...name, from, features: features.names, superblock }, () =>
        geometryReport(superblock, features, image),
      )
    }
    if (mounted?.kernel) return print('kernel', mounted.kernel.features, mounted.kernel.geometry)
    if (mounted) {
      const because = mounted.reason === undefined ? '' : ` (${mounted.reason})`
      const message = `${args.image} is mounted, and the kernel cannot be queried${because}: showing the state on disk`
      out.message('warning', 'xfskit', message)
    }
    return withImage(session, image, 'read', args, ({ geometry: { sb, features } }) => print('image', features, sb))
  },
}
export default info
