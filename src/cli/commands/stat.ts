import { counted } from '../../util/counted.ts'
import { escapeBytes } from '../../util/escape.ts'
import { modeText, type Stat, timeText } from '../../xfsimage/stats.ts'
import { type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import type { Command } from '../command.ts'
import { absolute, isoTime, named, octal } from '../json.ts'
import { withImage } from '../open.ts'
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
    withImage({ out }, args.image, 'read', args, async (image) => {
      const { status } = await tryEachPath({ out }, 'stat', args.paths, (path) => {
        const file = imagePath(path)
        const { xfs } = args.follow === true ? image.stat(file) : image.lstat(file)
        out.document('stat', statValue(file, xfs), () => statText(path, xfs))
      })
      return status
    }),
}
export default stat

function statValue(path: Uint8Array, { permissions, target, atime, mtime, ctime, crtime, ...stat }: Stat) {
  const times = { atime: isoTime(atime), mtime: isoTime(mtime), ctime: isoTime(ctime) }
  return {
    ...named('path', absolute(path)),
    ...stat,
    mode: octal(permissions),
    ...times,
    ...(crtime && { crtime: isoTime(crtime) }),
    ...(target && named('target', target)),
  }
}

function statText(path: string, stat: Stat): string {
  const target = stat.target && escapeBytes(stat.target)
  const octalMode = stat.permissions.toString(8).padStart(4, '0')
  const lines: [string, string][] = [
    ['path', target === undefined ? path : `${path} -> ${target}`],
    ['type', stat.device ? `${stat.type} ${stat.device.major}, ${stat.device.minor}` : stat.type],
    ['inode', `${stat.ino}, generation ${stat.generation}, ${stat.changeCount} changes`],
    [
      'size',
      `${counted(stat.size, 'byte')} in ${counted(stat.blocks, 'block')}, ${counted(stat.extents, 'extent')}${stat.attrExtents > 0 ? `, ${stat.attrExtents} of attributes` : ''}`,
    ],
    ['mode', `${octalMode} ${modeText(stat)}, ${counted(stat.nlink, 'link')}`],
    ['owner', `uid ${stat.uid}, gid ${stat.gid}, project ${stat.projid}`],
    ['flags', stat.flags.join(' ') || 'none'],
    ['hints', `extent size ${stat.extsize}, CoW extent size ${counted(stat.cowextsize, 'block')}`],
    ...(['atime', 'mtime', 'ctime', 'crtime'] as const).flatMap((name): [string, string][] => {
      const time = stat[name]
      return time ? [[name, timeText(time)]] : []
    }),
  ]
  return lines.map(([name, text]) => `${name.padEnd(7)} ${text}\n`).join('')
}
