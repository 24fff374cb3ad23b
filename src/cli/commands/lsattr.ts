import { XfsError } from '../../errors.ts'
import { flagsText } from '../../xfsimage/attributes.ts'
import type { Walked } from '../../xfsimage/reading.ts'
import { type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import { type Command, FAILED, OK } from '../command.ts'
import { absolute, named } from '../json.ts'
import { withImage } from '../open.ts'
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
    withImage({ out }, args.image, 'read', args, (image) => {
      const { blocksize } = image.geometry
      let status = OK
      const complain = (path: string, error: XfsError): void => {
        status = FAILED
        reportFailure(out, 'lsattr', path, error)
      }
      const rows = function* (): Generator<Row> {
        for (const start of args.paths) {
          const onError = (below: Uint8Array, error: XfsError): void => complain(pathBelow(start, below), error)
          const depth = args.recursive ? {} : { maxDepth: 0 }
          try {
            for (const file of image.walk(imagePath(start), { sorted: true, ...depth, onError }))
              yield out.json ? jsonRow(file, start, blocksize) : textRow(file, start, blocksize)
          } catch (error) {
            if (!(error instanceof XfsError)) throw error
            complain(start, error)
          }
        }
      }
      out.records('lsattr', COLUMNS, rows())
      return status
    }),
}
export default command

const COLUMNS = [
  { name: 'flags', left: true }, { name: 'projid' }, { name: 'extsize' }, { name: 'cowextsize' }, { name: 'path', left: true },
] as const // biome-ignore format: a table

function factsOf(file: Walked, blocksize: number) {
  const { flags, projid, extsize, cowextsize } = file.stat().xfs
  return { flags, projid, extsize: extsize * blocksize, cowextsize: cowextsize * blocksize }
}

function textRow(file: Walked, start: string, blocksize: number): Row {
  const { flags, ...facts } = factsOf(file, blocksize)
  return { ...facts, flags: flagsText(flags), path: pathBelow(start, file.path) }
}

/** The names of all flags, and the letters of those that chattr takes. */
function jsonRow(file: Walked, start: string, blocksize: number): Row {
  const { flags, ...facts } = factsOf(file, blocksize)
  const letters = flagsText(flags).replaceAll('-', '')
  return { ...named('path', absolute(imagePath(start), file.path)), flags, letters, ...facts }
}
