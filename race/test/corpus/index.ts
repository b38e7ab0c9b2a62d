// The list of all programs of the corpus, read from its folders.
import { readdirSync } from 'node:fs'
import type { Clean, Pair } from './program.ts'

async function modulesOf<M> (folder: string): Promise<M[]> {
  const directory = new URL(`${folder}/`, import.meta.url)
  const files = readdirSync(directory).filter((file) => file.endsWith('.ts')).sort()
  return Promise.all(files.map(async (file) => import(new URL(file, directory).href) as Promise<M>))
}

/** Loads the pairs of racy and fixed programs of a folder. */
export const pairs = async (folder: 'bugs' | 'unseen'): Promise<Pair[]> => modulesOf<Pair>(folder)

/** Loads the programs that have no race. */
export const cleanPrograms = async (): Promise<Clean[]> => modulesOf<Clean>('clean')
