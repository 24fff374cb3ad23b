import { type FlagChanges, flagLetters } from '../../xfsimage/attributes.ts'
import { changeOptions, type ImageArguments, optionalSize, parseCount } from '../arguments.ts'
import { type Command, UsageError } from '../command.ts'
import { everyFile } from '../everyfile.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly paths: string[]
  readonly recursive?: boolean
  readonly projid?: string
  readonly extsize?: number
  readonly cowextsize?: number
}

const letters = flagLetters.map(([letter]) => letter).join('')

const command: Command<Arguments> = {
  command: 'chattr <image> <paths..>',
  describe: 'change inode flags, project ID and extent size hints',
  operand: new RegExp(`^-[${letters}]+$`),
  examples: [
    ['$0 chattr disk.img +i /etc/passwd', 'set immutable; -i clears it'],
    ['$0 chattr -R disk.img +P --projid 42 /srv', 'set a project ID that new files inherit'],
    ['$0 chattr disk.img --extsize 1m /srv/disk.raw', 'set an extent size hint'],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: `flags to set (+…) or clear (-…), of ${letters}; then files in the image`,
      })
      .option('recursive', { alias: 'R', type: 'boolean', describe: 'everything below directories, too' })
      .option('projid', { type: 'string', requiresArg: true, describe: 'project ID' })
      .option('extsize', {
        type: 'string',
        coerce: optionalSize,
        requiresArg: true,
        describe: 'extent size hint in bytes (0: none)',
      })
      .option('cowextsize', {
        type: 'string',
        coerce: optionalSize,
        requiresArg: true,
        describe: 'CoW extent size hint in bytes (0: none)',
      }) as never,
  handler: (args, session) => {
    const isFlags = (word: string): boolean => new RegExp(`^[-+][${letters}]+$`).test(word)
    const words = args.paths.filter(isFlags)
    const paths = args.paths.filter((word) => !isFlags(word))
    const odd = paths.find((path) => /^[-+]/.test(path))
    if (odd !== undefined) throw new UsageError(`not an option or flags: ${odd}`)
    const pick = (sign: string): string => words.flatMap((word) => (word[0] === sign ? [word.slice(1)] : [])).join('')
    const changes: FlagChanges = {
      set: pick('+'),
      clear: pick('-'),
      ...(args.projid === undefined ? {} : { projid: parseCount(args.projid, 'projid') }),
      ...(args.extsize === undefined ? {} : { extsize: args.extsize }),
      ...(args.cowextsize === undefined ? {} : { cowextsize: args.cowextsize }),
    }
    if (paths.length === 0) throw new UsageError('chattr needs a file')
    return everyFile(session, 'chattr', { ...args, paths }, { follow: false }, (image, file) =>
      image.chattr(file, changes),
    )
  },
}
export default command
