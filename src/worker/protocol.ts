import type { FileOpenOptions, ImageTarget } from '../xfsimage/xfsimage.ts'
import type { SentError } from './errors.ts'

/** Messages between a program and the worker that has its image. */

/** What the worker is started with. */
export interface Start {
  readonly target: Exclude<ImageTarget, URL>
  readonly options: FileOpenOptions
}

export interface Call {
  readonly id: number
  readonly method: string
  readonly args: readonly unknown[]
  /** Functions among the options of the last argument: they are called by `Event`. */
  readonly listens: readonly string[]
}

/** Stop a call. */
export interface Abort {
  readonly abort: number
}

/** `id` 0: the image was opened, or not. */
export type Answer = { readonly id: number } & ({ readonly value: unknown } | { readonly error: SentError })

export interface Event {
  readonly id: number
  readonly event: string
  readonly values: readonly unknown[]
}

/** An open file, in place of a path. */
export interface Descriptor {
  readonly fd: number
}

/** The call that closes the image and ends the worker. */
export const CLOSE = 'close the image'
