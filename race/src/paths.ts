/** Whether a file is of an installed package. Paths of Windows have backslashes. */
export function isPackaged (file: string, name = ''): boolean {
  return file.replaceAll('\\', '/').includes(`/node_modules/${name === '' ? '' : `${name}/`}`)
}
