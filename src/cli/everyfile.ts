import { XfsError } from '../errors.ts'
import type { XfsFile } from '../xfsimage/file.ts'
import type { XfsImage } from '../xfsimage/xfsimage.ts'
import { type ImageArguments, imagePath } from './arguments.ts'
import type { Session } from './command.ts'
import { changeEachPath, type Fail, pathBelow } from './paths.ts'
import { pause, withProgress } from './progress.ts'

interface PathsArguments extends ImageArguments {
  readonly image: string
  readonly paths: string[]
  readonly recursive?: boolean
}

type Action = (image: XfsImage, file: XfsFile) => void

/**
 * Change the file at each path; with `recursive` also everything below it, without following
 * symbolic links. A file below that fails does not stop the others.
 */
export const everyFile = (
  session: Session,
  command: string,
  args: PathsArguments,
  { follow }: { readonly follow: boolean },
  action: Action,
): Promise<number> =>
  changeEachPath(session, command, args, args.paths, (image, path, fail) =>
    args.recursive === true
      ? changeTree(image, path, action, fail)
      : action(image, image.file(imagePath(path), { follow })),
  )

const changeTree = (image: XfsImage, start: string, action: Action, fail: Fail): Promise<void> =>
  withProgress(async ({ onProgress }) => {
    const onError = (path: Uint8Array, error: XfsError): void => fail(pathBelow(start, path), error)
    let done = 0
    for (const file of image.walk(imagePath(start), { onError })) {
      try {
        action(image, file)
      } catch (error) {
        if (!(error instanceof XfsError)) throw error
        onError(file.path, error)
      }
      onProgress?.({ what: 'changing', done: ++done })
      await pause()
    }
  })
