import { mountedXfs } from '../../device/mounted.ts'
import { withoutNative } from '../../device/native.ts'
import { geometryReport, type ReportedFeatures, type ReportedGeometry } from '../../format/report.ts'
import { hostPath, type ImageArguments, imageOptions } from '../arguments.ts'
import type { Command } from '../command.ts'
import { withVolume } from '../image.ts'

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
    const elsewhere = args.offset !== undefined || args.partition !== undefined
    const mounted = elsewhere ? undefined : mountedXfs(hostPath(args.image))
    const print = (image: string, features: ReportedFeatures, superblock: ReportedGeometry): void =>
      session.out.document('info', { image, features: features.names, superblock }, () =>
        geometryReport(superblock, features, image),
      )
    if (mounted?.kernel) return print(mounted.source, mounted.kernel.features, mounted.kernel.geometry)
    if (mounted)
      session.out.error(
        `xfskit: warning: ${args.image} is mounted, and the kernel cannot be queried${because(withoutNative())}: showing the state on disk\n`,
      )
    return withVolume(session, mounted?.source ?? args.image, 'read', args, ({ geometry: { sb }, features }) =>
      print(mounted?.source ?? args.image, features, sb),
    )
  },
}
export default info

const because = (reason: string | undefined): string => (reason === undefined ? '' : ` (${reason})`)
