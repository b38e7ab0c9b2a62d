import assert from 'node:assert/strict'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Program, Tools } from '../program.ts'

export const description = 'The functions are async, but no await stands between the read and the write of the memory.'

interface Post { id: number, likes: number }

class MemoryPosts {
  readonly posts: Post[]

  constructor (posts: Post[]) {
    this.posts = posts
  }

  async like (id: number): Promise<Post | undefined> {
    const index = this.posts.findIndex((post) => post.id === id)
    if (index === -1) return undefined
    const post = this.posts[index]!
    const updated = { ...post, likes: post.likes + 1 }
    this.posts[index] = updated
    return updated
  }
}

function build ({ shared }: Tools): FastifyInstance {
  const app = Fastify()
  const repository = new MemoryPosts(shared([{ id: 7, likes: 0 }], 'posts'))
  app.post<{ Params: { id: string } }>('/posts/:id/like', async ({ params }) => {
    const post = await repository.like(Number(params.id))
    return { likes: post?.likes }
  })
  return app
}

export const program: Program = {
  name: 'clean/no-await-in-path',
  source: 'NexaSphere#3016',
  build,
  requests: Array.from({ length: 3 }, () => ({ method: 'POST', url: '/posts/7/like' })),
  invariant (_app, responses) {
    assert.deepEqual(responses.map((response) => response.json<{ likes: number }>().likes).sort(), [1, 2, 3])
  }
}
