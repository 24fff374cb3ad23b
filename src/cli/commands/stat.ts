import { resolve } from '../../namespace/resolve.ts'
import { modeText, type Stat, statOf, timeText } from '../../namespace/stat.ts'
import { counted } from '../../util/counted.ts'
import { escapeBytes } from '../../util/escape.ts'
import { type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import type { Command } from '../command.ts'
import { withVolume } from '../image.ts'
import { tryEachPath } from '../paths.ts'

const stat: Command<ImageArguments & { image: string; paths: string[]; follow?: boolean }> = {
  command: 'stat <image> <paths..>',
  describe: 'show inode details',
  examples: [['$0 stat disk.img /etc/passwd', 'type, size, blocks, owner, times, flags, hints']],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: 'files in the image' })
      .option('follow', { alias: 'L', type: 'boolean', describe: 'follow symbolic links' }),
  handler: (args, { out }) =>
    withVolume({ out }, args.image, 'read', args, async (volume) => {
      const { status } = await tryEachPath({ out }, 'stat', args.paths, (path) => {
        const found = statOf(resolve(volume, imagePath(path), { follow: args.follow === true }))
        const target = found.target && escapeBytes(found.target)
        const crtime = found.crtime && timeText(found.crtime)
        const times = {
          atime: timeText(found.atime),
          mtime: timeText(found.mtime),
          ctime: timeText(found.ctime),
          crtime,
        }
        out.document('stat', { path, ...found, target, mode: modeText(found), ...times }, () =>
          statText(path, found, times, target),
        )
      })
      return status
    }),
}
export default stat

function statText(
  path: string,
  stat: Stat,
  times: Readonly<Record<string, string | undefined>>,
  target: string | undefined,
): string {
  const octal = stat.permissions.toString(8).padStart(4, '0')
  const lines: [string, string][] = [
    ['path', target === undefined ? path : `${path} -> ${target}`],
    ['type', stat.device ? `${stat.type} ${stat.device.major}, ${stat.device.minor}` : stat.type],
    ['inode', `${stat.ino}, generation ${stat.generation}, ${stat.changeCount} changes`],
    [
      'size',
      `${counted(stat.size, 'byte')} in ${counted(stat.blocks, 'block')}, ${counted(stat.extents, 'extent')}${stat.attrExtents > 0 ? `, ${stat.attrExtents} of attributes` : ''}`,
    ],
    ['mode', `${octal} ${modeText(stat)}, ${counted(stat.nlink, 'link')}`],
    ['owner', `uid ${stat.uid}, gid ${stat.gid}, project ${stat.projid}`],
    ['flags', stat.flags.join(' ') || 'none'],
    ['hints', `extent size ${stat.extsize}, CoW extent size ${counted(stat.cowextsize, 'block')}`],
    ...Object.entries(times).flatMap(([name, text]): [string, string][] => (text === undefined ? [] : [[name, text]])),
  ]
  return lines.map(([name, text]) => `${name.padEnd(7)} ${text}\n`).join('')
}
