import { escapeBytes } from './escape.ts'

/** Names and paths, which are bytes, as text for messages. */

const encoder = new TextEncoder()

/** A path as bytes. */
export const pathBytes = (path: string | Uint8Array): Uint8Array =>
  typeof path === 'string' ? encoder.encode(path) : path

/** A path or name for a message. */
export const printable = (path: string | Uint8Array): string => escapeBytes(pathBytes(path))
