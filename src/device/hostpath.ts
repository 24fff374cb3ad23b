/** A path on the host; bytes where it is not UTF-8. */
export type HostPath = string | Buffer
