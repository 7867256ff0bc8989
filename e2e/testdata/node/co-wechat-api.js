// co-wechat-api as it is published, told another host by the two prefixes that it has.
const WechatAPI = require('co-wechat-api');

const [base, appid, to, picture, voice, film] = process.argv.slice(2);

async function main() {
  const api = new WechatAPI(appid, process.env.KEFU_DOOR_KEY);
  api.prefix = base + '/cgi-bin/';
  api.customservicePrefix = base + '/customservice/';
  const image = await api.uploadMedia(picture, 'image');
  const sound = await api.uploadMedia(voice, 'voice');
  const video = await api.uploadMedia(film, 'video');
  const thumb = await api.uploadMedia(picture, 'thumb');
  await api.sendText(to, '您好 & <a href="https://example.com/">看看</a>');
  await api.sendImage(to, image.media_id);
  await api.sendVoice(to, sound.media_id);
  await api.sendVideo(to, video.media_id, thumb.thumb_media_id);
  await api.sendMusic(to, { title: '茉莉花', musicurl: 'https://example.com/a.mp3', hqmusicurl: 'https://example.com/b.mp3', thumb_media_id: thumb.thumb_media_id });
  await api.sendNews(to, [{ title: '标题', description: '说明', url: 'https://example.com/', picurl: 'https://example.com/a.png' }]);
  await api.sendCard(to, 'pCARD');
  try {
    await api.sendImage(to, 'nothing');
    throw new Error('an unknown media id was sent');
  } catch (err) {
    if (err.code !== 40007) throw err;
  }
  await api.getCustomServiceList();
}

main().catch((err) => {
  console.error(err.name, err.code, err.message.replace(process.env.KEFU_DOOR_KEY, '…'));
  process.exit(1);
});
